"""A child that borrows our memory: what it leaves there, what it does not touch, and how it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dosirak.engine.runtime import syscalls, vfork


def true() -> vfork.Program:
    return b"/bin/true", [b"true"], []


def shell(script: str, *env: bytes) -> Callable[[], vfork.Program]:
    return lambda: (b"/bin/sh", [b"sh", b"-c", script.encode()], env)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_it_executes_what_was_prepared() -> None:
    pid, error = vfork.spawn(0, shell('exit "$CODE"', b"CODE=7"))
    assert error is None
    assert status(pid) == 7


def test_what_it_leaves_in_memory_is_ours() -> None:
    seen: list[int] = []

    def prepare() -> vfork.Program:
        seen.append(os.getpid())
        return true()

    pid, _ = vfork.spawn(0, prepare)
    assert seen == [pid] != [os.getpid()]
    status(pid)


def test_its_working_directory_and_descriptors_are_its_own(tmp_path: Path) -> None:
    here = os.getcwd()
    read, write = os.pipe()

    def prepare() -> vfork.Program:
        os.chdir(tmp_path)
        os.close(read)
        os.dup2(write, 1)
        return shell("pwd")()

    pid, error = vfork.spawn(0, prepare)
    assert error is None
    assert os.getcwd() == here
    os.close(write)
    assert os.read(read, 1000).decode() == f"{tmp_path}\n"
    os.close(read)
    status(pid)


def test_descriptors_may_be_shared_until_it_execs() -> None:
    opened: list[int] = []

    def prepare() -> vfork.Program:
        opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        syscalls.unshare(syscalls.CLONE_FILES)
        os.closerange(3, 100)
        return true()

    pid, error = vfork.spawn(syscalls.CLONE_FILES, prepare)
    assert (error, os.readlink(f"/proc/self/fd/{opened[0]}")) == (None, "/dev/null")
    os.close(opened[0])
    status(pid)


def test_an_exception_comes_back() -> None:
    def prepare() -> vfork.Program:
        raise ValueError("no")

    pid, error = vfork.spawn(0, prepare)
    assert isinstance(error, ValueError)
    assert status(pid) == 1


def test_a_refused_execve_comes_back_with_the_program() -> None:
    pid, error = vfork.spawn(0, lambda: (b"/no/such", [b"x"], []))
    assert isinstance(error, vfork.ExecFailed)
    assert (error.errno, error.filename) == (2, b"/no/such")
    assert status(pid) == 1


def test_deep_calls_and_many_children() -> None:
    def deep(level: int) -> vfork.Program:
        return true() if level == 0 else deep(level - 1)

    for _ in range(50):
        pid, error = vfork.spawn(0, lambda: deep(500))
        assert error is None
        assert status(pid) == 0


@pytest.mark.parametrize(("program", "code"), [("true()", 0), ("os.kill(os.getpid(), 9)", -9)])
def test_a_kill_before_execve_is_told(program: str, code: int) -> None:
    """In an interpreter of its own: it is good for nothing afterwards."""
    script = (
        "import os\nfrom dosirak.engine.runtime import vfork\ntrue = lambda: (b'/bin/true', [b'true'], [])\n"
        f"pid, error = vfork.spawn(0, lambda: {program})\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "os.write(1, f'{type(error).__name__} {status}'.encode())\nos._exit(0)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == ("NoneType 0" if code == 0 else "Killed -9")
