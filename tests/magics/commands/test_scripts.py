"""`%%in` and `%%file-in`: a cell's body inside a container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError
from support.engines import Engine

Magic = Callable[..., Any]


@pytest.fixture
def box(magic: Magic, engine: Engine) -> Iterator[str]:
    """A running container's name."""
    engine.docker("run", "-d", "--name", "box", "busybox", "sleep", "100")
    yield "box"
    engine.remove_containers()


def test_a_body_is_a_script_inside(magic, box, capfd):
    status = magic("in", box, "cd /tmp\nfor n in 1 2; do\n  echo line $n\ndone\n")
    assert (status, capfd.readouterr().out) == (0, "line 1\nline 2\n")


def test_a_script_stops_at_its_first_failure(magic, box, capfd):
    status = magic("in", box, "echo before\nfalse\necho after\n")
    assert (status, capfd.readouterr().out) == (1, "before\n")


def test_a_command_that_reads_input_does_not_read_the_script(magic, box, capfd):
    magic("in", box, "cat\necho after\n")
    assert capfd.readouterr().out == "after\n"


@pytest.mark.parametrize(
    "line, body", [("box", "#!/bin/awk -f\nBEGIN { print 6 * 7 }\n"), ("box awk -f", "BEGIN { print 6 * 7 }")]
)
def test_another_interpreter_runs_it_when_it_is_named(magic, box, capfd, line, body):
    magic("in", line, body)
    assert capfd.readouterr().out == "42\n"


def test_it_runs_as_whom_where_and_with_what_is_asked(magic, box, capfd):
    magic("in", "-u 7:8 -w /usr -e WORD=hello box", 'echo "$(id -u):$(id -g) $PWD $WORD"')
    assert capfd.readouterr().out == "7:8 /usr hello\n"


def test_a_script_longer_than_an_argument_may_be_is_run_all_the_same(magic, box, capfd):
    magic("in", box, "true\n" * 40_000 + "echo end\n")
    assert capfd.readouterr().out == "end\n"


def test_a_body_is_a_file_inside(magic, box, capfd):
    magic("file-in", "--mode 750 box:/usr/greet", "#!/bin/sh\necho grüße\n")
    magic("in", box, "ls -l /usr/greet | cut -c-10; /usr/greet")
    assert capfd.readouterr().out == "-rwxr-x---\ngrüße\n"


WRONG = {
    ("in", "nobody"): "Error response from daemon: No such container: nobody",
    ("in", ""): "'%%in' requires at least 1 argument",
    ("file-in", "box"): "box: not a file in a container; write CONTAINER:PATH",
    ("file-in", "box:/usr/"): "box:/usr/: not a file in a container; write CONTAINER:PATH",
    ("file-in", "box:/no/where"): "Error response from daemon: Could not find the file /no in container box",
    ("file-in", "--mode rwx box:/x"): "--mode rwx: not an octal number, like 644 or 755",
}


@pytest.mark.parametrize("name, line", WRONG)
def test_what_is_wrong_is_one_line(magic, box, name, line):
    with pytest.raises(DosirakError) as caught:
        magic(name, line, "body")
    assert caught.value.message.startswith(WRONG[name, line])
