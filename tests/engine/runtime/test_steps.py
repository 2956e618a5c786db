"""The last steps before a program, as a program: what it is made of, and what it does."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dosirak.engine.runtime import steps
from dosirak.engine.runtime import syscalls as sys
from support.machinecode import compiled

SOURCE = Path(steps.__file__).with_name("steps.c")


@pytest.mark.parametrize("machine", steps.CODE)
def test_the_source_compiles_to_the_code_that_is_shipped(machine, tmp_path):
    code = compiled(SOURCE, machine, steps.FLAGS, tmp_path)
    assert code == bytes.fromhex(steps.CODE[machine])


@pytest.mark.parametrize("machine", steps.CODE)
def test_it_is_small_and_for_its_machine(machine):
    found = steps.Steps(machine, -1).program()
    assert len(found) < 4096
    assert found.startswith(b"\x7fELF") and int.from_bytes(found[18:20], "little") == steps._MACHINES[machine]
    assert steps.NUMBERS[machine].keys() == steps.NUMBERS["x86_64"].keys()


def _run(found: steps.Steps) -> tuple[int, str]:
    """Its exit status, and what it said on standard error."""
    fd, said = steps.open_program(found), os.memfd_create("said", os.MFD_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(said, 2)
            sys.execveat(fd, [b"steps"], [])
        finally:
            os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = os.pread(said, 4096, 0).decode()
    for one in (fd, said):
        os.close(one)
    return status, text


def _steps(socket: int = -1) -> steps.Steps:
    return steps.Steps(os.uname().machine, socket)


def test_steps_are_made_in_order_and_end_in_the_program():
    found = _steps()
    found.add("write", 2, b"first ", 6)
    found.add("umask", 0o27)
    argv = found.strings([b"sh", b"-c", b'echo "$A $(umask) $0" >&2; exit 7'])
    found.add("execve", b"/bin/sh", argv, found.strings([b"A=b c"]))
    assert _run(found) == (7, "first b c 0027 sh\n")


def test_a_step_that_fails_is_told_and_ends_it():
    found = _steps()
    found.add("chdir", b"/no/such/place", what="chdir to cwd")
    found.add("write", 2, b"never", 5)
    assert _run(found) == (127, "chdir to cwd: no such file or directory\n")


def test_a_step_may_fail_where_that_is_said():
    found = _steps()
    found.add("chdir", b"/no/such/place", flags=steps.IGNORE)
    nothing = found.strings([])
    found.add("execve", b"/etc/passwd", nothing, nothing, flags=steps.TRY)
    found.add("execve", b"/no/such/program", nothing, nothing, what="exec")
    assert _run(found) == (126, "exec: permission denied\n")


def test_whoever_made_it_hears_of_a_failure_until_the_socket_is_closed():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    found = _steps(theirs.fileno())
    found.add("chdir", b"/no/such/place", what="x" * 2000)
    assert _run(found) == (127, "")
    assert ours.recv(4096) == b"E\x02" + b"x" * 1000
    found = _steps(theirs.fileno())
    found.add("close", theirs.fileno(), flags=steps.SILENT)
    found.add("chdir", b"/no/such/place", what="late")
    assert _run(found) == (127, "late: no such file or directory\n")
    theirs.close()
    assert ours.recv(4096) == b""


def test_it_ends_when_whoever_made_it_has_gone():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.set_inheritable(True)
    ours.close()
    found = _steps(theirs.fileno())
    found.add("read", theirs.fileno(), bytes(8), 8, flags=steps.SOME)
    found.add("write", 2, b"never", 5)
    assert _run(found) == (1, "")


def test_a_result_can_be_the_next_step_s_argument(tmp_path):
    place = tmp_path / "written"
    place.touch()
    found = _steps()
    found.add("openat", -100, os.fsencode(place), os.O_WRONLY, flags=steps.KEEP)
    found.add("write", 0, b"here", 4, flags=steps.LAST)
    found.add("execve", b"/bin/true", found.strings([b"true"]), found.strings([]))
    assert _run(found) == (0, "")
    assert place.read_text() == "here"


def test_nobody_can_write_it():
    fd = steps.open_program(_steps())
    try:
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)
