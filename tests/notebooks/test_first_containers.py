"""The first tutorial, run for real by nbclient: what its cells put out is what its text says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import runner

from support.engines import session_base
from support.tutorials import Executed

pytestmark = pytest.mark.xdist_group("tutorial")  # executed once, by one worker

PATH = Path(__file__).resolve().parents[2] / "notebooks/01-first-containers.ipynb"


@pytest.fixture(scope="module")
def tutorial() -> Iterator[Executed]:
    with runner.own_engine(session_base()) as environment:
        yield Executed(runner.execute(PATH, environment))


def test_the_first_container_says_hello(tutorial: Executed) -> None:
    assert tutorial.text("hello from a container") == "hello from a container"


def test_ps_is_a_table_in_text_and_in_html(tutorial: Executed) -> None:
    text = tutorial.text("--hostname lunchbox")
    header = text.splitlines()[0].split("  ")
    for column in ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"):
        assert column in text.splitlines()[0], header
    assert re.search(r"dosirak/host\s+\"?sleep 3600\"?.*Up .*box", text)
    html = tutorial.html("--hostname lunchbox")
    assert "<table" in html
    assert re.search(r"<th[^>]*>NAMES</th>", html)


def test_the_process_is_one_of_this_machines(tutorial: Executed) -> None:
    assert "[b'sleep', b'3600']" in tutorial.text("its command is")
    inside = tutorial.text("process 1 in here")
    assert "process 1 in here: sleep 3600" in inside
    assert re.search(r"all I can see: 1 \d+$", inside, re.MULTILINE)


def test_the_name_and_the_files_are_its_own(tutorial: Executed) -> None:
    outside, inside = tutorial.text("uname -n").splitlines()
    assert inside == "lunchbox"
    assert not outside.endswith("lunchbox")
    assert {"bin", "etc", "proc", "usr"} <= set(tutorial.text("exec box ls /").split())


def test_all_eight_namespaces_are_compared_and_seven_are_its_own(tutorial: Executed) -> None:
    rows = {line.split()[0]: line.split()[1:4] for line in tutorial.text("KINDS = {").splitlines()[1:] if line}
    assert set(rows) == {"mnt", "pid", "net", "uts", "ipc", "cgroup", "user", "time"}
    own = {kind for kind, (here, there, different) in rows.items() if different == "True" and here != there}
    shared = {kind for kind, (here, there, different) in rows.items() if different == "False" and here == there}
    assert own == {"mnt", "pid", "net", "uts", "ipc", "cgroup", "time"}
    assert shared == {"user"}
    # What the container says of itself is what the host says of it.
    inside = dict(re.findall(r"(\w+):\[(\d+)\]", tutorial.text("cd /proc/self/ns")))
    assert inside == {kind: row[1] for kind, row in rows.items()}


def test_fourteen_capabilities_are_left(tutorial: Executed) -> None:
    assert "in the box: 00000000a80425fb  14 of them" in tutorial.text("def capabilities")


def test_the_limits_are_in_the_kernels_files_and_bite(tutorial: Executed) -> None:
    assert re.search(r"memory:\s+67108864 bytes\nprocesses: 20", tutorial.text("def control_file"))
    assert "exit status: 137" in tutorial.text("--name greedy")
    assert "got it" not in tutorial.text("--name greedy")
    assert "killed for want of memory: True" in tutorial.text("OOMKilled")
    bomb = tutorial.text("processes in the group now")
    assert "fork" in bomb
    number = re.search(r"processes in the group now: (\d+)", bomb)
    assert number
    assert 10 < int(number[1]) <= 20


def test_the_built_image_shares_the_layers_of_its_base(tutorial: Executed) -> None:
    assert re.search(r"1/6 FROM dosirak/host", tutorial.text("%%dockerfile"))
    host, _, menu = tutorial.text("RootFS").partition("lunch-menu")
    below, above = re.findall(r"sha256:\w+", host), re.findall(r"sha256:\w+", menu)
    assert below
    assert above[: len(below)] == below
    assert len(above) == len(below) + 2
    assert "lunch-menu" in tutorial.text("%image ls")


def test_the_server_answers_through_its_published_port(tutorial: Executed) -> None:
    assert "->8000/tcp" in tutorial.text("-p 8000 lunch-menu")
    assert "<h1>Today: bibimbap</h1>" in tutorial.text("def fetch")
    assert '"GET / HTTP/1.1" 200' in tutorial.text("%container logs web")


def test_the_topology_is_a_picture_that_needs_no_script(tutorial: Executed) -> None:
    html = tutorial.html("%topology")
    assert "data:image/svg+xml;base64," in html
    assert "<script" not in html


def test_a_change_is_in_the_upper_directory_and_the_image_is_as_it_was(tutorial: Executed) -> None:
    assert "<h1>Sold out</h1>" in tutorial.text("rm /srv/yesterday.html")
    upper = tutorial.text("UpperDir")
    assert "file      /srv/index.html '<h1>Sold out</h1>\\n'" in upper
    assert "deleted   /srv/yesterday.html" in upper
    assert tutorial.text("cat /srv/index.html") == "<h1>Today: bibimbap</h1>"


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("no-such-program", "executable file not found in $PATH"),
        ("--name web lunch-menu", 'The container name "/web" is already in use'),
        ("--rmm", "--rm"),
    ],
)
def test_an_error_is_one_clear_line_without_a_traceback(tutorial: Executed, piece: str, words: str) -> None:
    text = tutorial.text(piece)
    assert words in text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1


def test_nothing_is_left_at_the_end(tutorial: Executed) -> None:
    text = tutorial.text("upper.exists()")
    assert "still there: False" in text
    assert "box" not in text.partition("False")[2]


def test_the_page_needs_nothing_from_elsewhere(tutorial: Executed) -> None:
    page = runner.page(tutorial.notebook)
    assert "lunch-menu" in page
    assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:)[^"]+"', page) == []


def test_the_committed_outputs_are_of_the_committed_cells() -> None:
    committed = nbformat.read(PATH, as_version=4)
    for cell in committed.cells:
        if cell.cell_type == "code":
            assert cell.execution_count, f"not executed when it was saved: {cell.source[:60]}"
