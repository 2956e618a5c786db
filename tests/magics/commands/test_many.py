"""Commands with several names of which some fail: all are tried, what was done is told, as by the docker CLI."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.commands import many
from dosirak.magics.errors import DosirakError
from support.engines import Engine

COMMAND = str(Path(sys.executable).with_name("dosirak"))
# One behind the other, on two containers that run.
CASES = ("pause", "unpause", "update -c 512", "restart -t 0", "stop -t 0", "start", "kill", "wait", "rm -f")


@pytest.fixture
def dosirak(engine: Engine, busybox: str) -> Any:
    def run(arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments.split()], capture_output=True, text=True, env=engine.environment(), timeout=60
        )

    return run


def test_names_that_could_be_served_are_printed_though_others_fail(dosirak: Any, docker: Any) -> None:
    def all_of(run: Callable[[str], subprocess.CompletedProcess[str]]) -> list[tuple[str, int, str, str]]:
        for name in ("one", "two"):
            docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
        ran = {command: run(f"{command} one nosuch two nowhere") for command in CASES}
        return [(command, done.returncode, done.stdout, done.stderr) for command, done in ran.items()]

    theirs = all_of(lambda arguments: docker(*arguments.split(), check=False))
    assert [(row[0], row[1], row[2]) for row in theirs] == [
        (command, 0 if command == "rm -f" else 1, "137\n137\n" if command == "wait" else "one\ntwo\n")
        for command in CASES
    ]
    ours = all_of(dosirak)
    assert [(*row[:3], row[3].removeprefix("dosirak: ")) for row in ours] == theirs


def test_removing_by_force_what_is_not_there_is_no_failure(dosirak: Any, docker: Any) -> None:
    for command in ("rm -f nosuch", "rmi -f nosuch"):
        theirs, ours = docker(*command.split(), check=False), dosirak(command)
        assert (ours.returncode, ours.stdout, ours.stderr) == (0, theirs.stdout, theirs.stderr)


def test_a_cell_that_fails_says_what_was_done(magic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    magic("container", "run -d --name one busybox sleep 1000")
    with pytest.raises(DosirakError) as failed:
        magic("container", "stop -t 0 nosuch one")
    assert failed.value.message == "Error response from daemon: No such container: nosuch"
    assert capsys.readouterr().out == "one\n"
    stopped, other = magic("container", "start one one")
    assert stopped.name == other.name == "one"


def test_containers_are_stopped_at_once_and_shown_in_order(magic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"box{number}" for number in range(6)]
    for name in names:
        magic("container", f"run -d --name {name} busybox sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'")
    began = time.monotonic()
    stopped = magic("container", "stop -t 2 " + " ".join(names))
    assert time.monotonic() - began < 10
    assert [container.name for container in stopped] == names
    assert {container.status for container in stopped} == {"exited"}


def test_what_fails_unexpectedly_in_a_thread_comes_out() -> None:
    class Session:
        class engine:
            client = None

    def act(name: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        many.told(Session(), ["a", "b"], act, at_once=True)  # type: ignore[arg-type]
