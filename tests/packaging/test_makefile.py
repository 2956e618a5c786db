"""The README's commands, as a newcomer types them once the set-up is done."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.engines import wait_for

from .conftest import HOUSE

pytestmark = pytest.mark.xdist_group("make")

# As from a fresh shell, not from the `make test` that may run this.
SHELL = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "DOSIRAK_"))}


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=HOUSE, env=SHELL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api"):
            return True
    except OSError:
        return False


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A target that goes on until it is interrupted."""
    process = subprocess.Popen(
        ["make", *arguments],
        cwd=HOUSE,
        env=SHELL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for _ in range(2):  # the first asks, the second answers
            os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)


def test_a_second_set_up_finds_all_there_and_does_nothing() -> None:
    assert make("setup") == ""


def test_the_demo_prints_the_tutorial_s_tables_and_says_where_its_page_is() -> None:
    page = HOUSE / "build" / "01-first-containers.html"
    page.unlink(missing_ok=True)
    shown = make("demo")
    assert "hello from a container" in shown
    assert re.search(r"CONTAINER ID +IMAGE +COMMAND", shown)
    assert str(page) in shown
    assert page.read_text().lstrip().startswith("<!DOCTYPE html>")


def test_the_lab_serves_the_tutorials() -> None:
    with started("lab", f"ARGS=--no-browser --port={free_port()}") as lab:
        assert lab.stdout is not None
        root, token = next(
            (found[1], found[2])
            for line in lab.stdout
            if (found := re.search(r"^ +(http://127\.0\.0\.1:\d+)/lab\?(token=\w+)", line))
        )
        wait_for(lambda: answers(root))  # it says where it is a moment before it listens
        with urllib.request.urlopen(f"{root}/api/contents/01-first-containers.ipynb?content=0&{token}") as answer:
            assert answer.status == 200
