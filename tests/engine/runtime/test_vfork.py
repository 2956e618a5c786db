"""A child that borrows our memory: what it leaves there, what it does not touch, and how it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dosirak.engine.runtime import vfork

PRELUDE = """
import os
from dosirak.engine.runtime import syscalls, vfork

def shell(script):
    syscalls.execve(b"/bin/sh", [b"sh", b"-c", script.encode()], [])

def code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def said(script: str) -> str:
    """What an interpreter prints by os.write that spawns and ends: it is good for nothing else afterwards."""
    whole = f"{PRELUDE}\n{script}\nos._exit(0)"
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True).stdout


def test_it_becomes_the_program() -> None:
    assert (
        said("pid, error = vfork.spawn(0, lambda: shell('exit 7'))\nprint(code(pid), error, flush=True)") == "7 None\n"
    )


def test_what_it_leaves_in_memory_is_ours() -> None:
    script = """
seen = []
def run():
    seen.append(os.getpid())
    shell("exit 0")
pid, _ = vfork.spawn(0, run)
print(seen == [pid], pid != os.getpid(), flush=True)
code(pid)
"""
    assert said(script) == "True True\n"


def test_its_working_directory_and_descriptors_are_its_own(tmp_path: Path) -> None:
    script = f"""
here = os.getcwd()
def run():
    os.chdir({str(tmp_path)!r})
    os.close(0)
    shell("pwd; ls /proc/self/fd | grep -c ^0")
pid, _ = vfork.spawn(0, run)
print(code(pid), os.getcwd() == here, os.fstat(0) is not None, flush=True)
"""
    assert said(script) == f"{tmp_path}\n1\n0 True True\n"


def test_descriptors_may_be_shared_until_it_wants_its_own() -> None:
    script = """
opened = []
def run():
    opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    syscalls.unshare(syscalls.CLONE_FILES)
    os.closerange(3, 100)
    shell("exit 0")
pid, _ = vfork.spawn(syscalls.CLONE_FILES, run)
print(os.readlink(f"/proc/self/fd/{opened[0]}"), code(pid), flush=True)
"""
    assert said(script) == "/dev/null 0\n"


def test_a_child_that_lowers_its_stack_limit_runs_on() -> None:
    script = """
import resource
def deep(level):
    return deep(level - 1) if level else shell("ulimit -s")
def run():
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
    deep(300)
pid, error = vfork.spawn(0, run)
print(code(pid), error, flush=True)
"""
    assert said(script) == "1024\n0 None\n"


def test_an_interpreter_with_a_small_stack_gets_a_larger_one() -> None:
    script = "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 20, -1))\n"
    script += "pid, error = vfork.spawn(0, lambda: shell('exit 7'))\nprint(code(pid), error, flush=True)"
    assert said(script) == "7 None\n"


def test_a_stack_that_may_not_grow_is_an_error() -> None:
    script = "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))\n"
    script += "try: vfork.spawn(0, lambda: shell('exit 7'))\nexcept OSError as error: print(error.strerror, flush=True)"
    # With CAP_SYS_RESOURCE it may.
    assert said(script) == "" or "1048576 bytes at most" in said(script)


def test_an_exception_comes_back_and_we_go_on() -> None:
    def refuse() -> None:
        raise ValueError("no")

    for _ in range(20):
        pid, error = vfork.spawn(0, refuse)
        assert isinstance(error, ValueError)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@pytest.mark.parametrize(
    ("run", "expected"),
    [("shell('exec sleep 60')", "9 pid"), ("os.kill(os.getpid(), 9)", "9 pid")],
    ids=["a program", "before it is one"],
)
def test_it_is_a_process_like_any_other_to_its_parent(run: str, expected: str) -> None:
    script = f"""
pid, error = vfork.spawn(0, lambda: {run})
os.kill(pid, 9)
print(-code(pid), "pid" if pid > 0 else "", flush=True)
"""
    assert said(script) == f"{expected}\n"
