"""Pages of tutorials in a `%%docker` cell, run for real."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from dosirak.magics.errors import DosirakError
from support.engines import Engine

Page = Callable[..., Any]


@pytest.fixture
def page(magic: Callable[..., Any], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """`page(text)` runs it in an empty folder; returns the cell's value."""
    monkeypatch.chdir(tmp_path)
    yield lambda text, line="": magic("docker", line, text)
    engine.remove_containers()


def test_a_page_with_prompts_and_printed_output_runs(page, capfd):
    page(
        """
$ docker run --name hello busybox echo hi
hi
$ docker ps -a --format '{{.Names}}: {{.Status}}'
hello: Exited (0) 2 seconds ago
$ docker rm $(docker ps -aq)
0123456789ab
"""
    )
    out = capfd.readouterr().out
    assert "$ docker run --name hello busybox echo hi\nhi\n" in out
    assert "hello: Exited (0)" in out


def test_variables_folders_and_functions_stay_from_line_to_line(page, capfd, tmp_path):
    page(
        """
        mkdir app && cd app
        NAME=box; export GREETING=hello
        say() { docker exec $1 sh -c "echo said $2"; }
        echo content > file
        docker run -d --name $NAME -v $(pwd):/app -e GREETING busybox sleep 100
        docker exec box sh -c 'echo $GREETING $(cat /app/file)'
        docker cp file box:/copied
        say box twice
        docker kill box
        """
    )
    out = capfd.readouterr().out
    assert "hello content\n" in out and "said twice\n" in out
    assert Path.cwd() == tmp_path and "GREETING" not in os.environ


def test_the_notebook_s_variables_are_the_shell_s(page, shell, capfd, tmp_path):
    shell.user_ns |= {"folder": tmp_path / "a b", "number": 42, "HOME": "not this one"}
    page(
        """
        mkdir -p "$folder"; echo content > "$folder/file"
        docker run --rm -v "$folder":/in busybox sh -c "cat /in/file; echo ${number}"
        echo "$HOME"
        """
    )
    assert capfd.readouterr().out.endswith(f'content\n42\n$ echo "$HOME"\n{os.environ["HOME"]}\n')
    page("echo $number을")
    assert capfd.readouterr().out.endswith("42을\n")


def test_output_goes_through_pipes_and_into_files(page, capfd):
    page(
        """
        docker run --rm busybox seq 100 | tail -1
        docker run --rm busybox echo kept > kept
        docker run -i --rm busybox cat < kept
        docker images --format '{{.Repository}}' | grep -c busybox
        cat kept | docker run -i --rm busybox tr a-z A-Z
        """
    )
    out = capfd.readouterr().out.splitlines()
    assert [line for line in out if not line.startswith("$ ")] == ["100", "kept", "1", "KEPT"]


def test_a_here_document_writes_the_dockerfile_that_the_next_line_builds(page, capfd):
    page(
        "cat <<'EOF' > Dockerfile\nFROM busybox\nCMD echo built $HOME\nEOF\n"
        "docker build -q -t paged .\ndocker run --rm paged"
    )
    assert "built /root\n" in capfd.readouterr().out


def test_what_is_typed_into_a_terminal_is_typed(page, capfd):
    page(
        """
root@host:~# docker run -it --name typed busybox
/ # echo $((6 * 7)) > /answer
/ # cat /answer
42
/ # exit
root@host:~# docker cp typed:/answer .
root@host:~# cat answer
42
"""
    )
    assert capfd.readouterr().out.endswith("$ cat answer\n42\n")


def test_a_shell_that_nothing_is_typed_into_ends(page, capfd):
    page("docker run -it --rm busybox\ndocker run --rm busybox echo after")
    assert "after\n" in capfd.readouterr().out


def test_the_last_command_s_value_is_the_cell_s_and_those_before_are_shown(page, capfd):
    value = page("docker run -d --name kept busybox sleep 100\ndocker ps\ndocker ps -a")
    assert isinstance(value, pandas.DataFrame)
    assert list(value["NAMES"]) == ["kept"]
    assert capfd.readouterr().out.count("CONTAINER ID") == 1


FAILURES = {
    "docker run --rm busybox sh -c 'exit 3'\necho never": ("line 1: ended with exit status 3", 3),
    "true\nfalse\necho never": ("line 2: ended with exit status 1", 1),
    "docker rmm x\necho never": ("unknown command: docker rmm; did you mean rm?", 1),
    "docker inspect nothing-there\necho never": ("Error: No such object: nothing-there", 1),
    "no-such-program\necho never": ("line 1: ended with exit status 127", 127),
    "exit 4\necho never": ("line 1: ended with exit status 4", 4),
}


@pytest.mark.parametrize("text", FAILURES)
def test_a_page_stops_at_the_first_command_that_fails(page, capfd, text):
    message, status = FAILURES[text]
    with pytest.raises(DosirakError) as caught:
        page(text)
    assert (caught.value.message, caught.value.exit_code) == (message, status)
    assert "never\n" not in capfd.readouterr().out.replace("$ echo never\n", "")


def test_a_page_that_keeps_going_says_at_the_end_what_failed(page, capfd):
    with pytest.raises(DosirakError, match="2 of 4 commands failed: line 1, 3"):
        page("false\necho on\ndocker rmm x\necho and on", "--keep-going")
    shown = capfd.readouterr()
    assert "on\n" in shown.out and "and on\n" in shown.out
    assert "docker rmm" in shown.err


def test_sudo_needs_no_sudo(page, capfd):
    page("sudo docker run --rm busybox echo one\nsudo docker run --rm busybox echo two | cat")
    out = capfd.readouterr().out
    assert "one\n" in out and "two\n" in out
