"""The keeper's process by itself, in the namespaces that are here: what it does when a service dies on it."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

import pytest

from dosirak.engine.rootless import keeper
from dosirak.engine.supervision import wire

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it listens to root, which the user is inside")


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


def test_a_service_that_is_killed_while_it_waits_for_an_answer_costs_nobody_else_theirs(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(4)
        # All this waits in the socket until the process is up.
        for op in ("enter", "settle"):
            with connect(path) as killed:
                killed.send(wire.pack({"op": op}))
        lives = connect(path)
        fd = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, keeper.LISTENER_FD + 1)
        command = [sys.executable, "-S", "-E", "-I", keeper.__file__, "0", "192.0.2.1"]
        pid = os.posix_spawn(command[0], command, {}, file_actions=[(os.POSIX_SPAWN_DUP2, fd, keeper.LISTENER_FD)])
        os.close(fd)
    with lives:
        lives.send(wire.pack({"op": "enter"}))
        data, fds = wire.receive(lives)
        for fd in fds:
            os.close(fd)
        assert (wire.unpack(data) if data else None, len(fds)) == ({"nameserver": "192.0.2.1", "way": 0}, 3)
        lives.send(wire.pack({"op": "end"}))
        assert os.waitpid(pid, 0)[1] == 0
    assert not path.exists()
