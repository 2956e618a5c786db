"""The service's way into its user namespace: the one a keeper holds, or a new one with a keeper of its own.

Runs in the service before it is anything: one thread, hardly a descriptor, nothing of the engine imported.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from dosirak.engine.rootless import ids as identities
from dosirak.engine.rootless import line as lines
from dosirak.engine.rootless import making, survivors
from dosirak.engine.runtime import syscalls
from dosirak.engine.supervision import wire

if TYPE_CHECKING:
    from dosirak.engine.rootless.line import Line
    from dosirak.engine.settings import Settings

# A keeper may be ending just when it is asked.
_TRIES = 3
# Seconds a new keeper may take until it answers; it takes 30 ms.
_START_SECONDS = 15.0


def enter(settings: Settings) -> Line:
    """Become root of a user namespace; see `rootless.enter`. Raises NoNamespaces, OSError."""
    own = identities.of_user(os.geteuid(), os.getegid())
    if not own.single and not making.tools():
        sys.stderr.write("dosirak: newuidmap and newgidmap are missing (Debian: uidmap): one id is all there is\n")
        own = identities.Ids(own.uid, own.gid)
    error: Exception = making.NoNamespaces("the keeper ends as soon as it is started; see the service's log")
    for _ in range(_TRIES):
        try:
            return _join(_reach(settings, own))
        except (ConnectionError, TimeoutError) as failed:
            error = failed
    raise error


def _reach(settings: Settings, own: identities.Ids) -> socket.socket:
    """A connection to the keeper, made now if there is none."""
    path = settings.run / "keeper.sock"
    if sock := lines.dial(os.fspath(path)):
        return sock
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.settimeout(_START_SECONDS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        listener.listen(4)
        sock.connect(os.fspath(path))  # it waits there until the keeper is up
        making.make(listener, settings.run / "netns", own, survivors.find(settings.data / "containers"))
    return sock


def _join(sock: socket.socket) -> Line:
    wire.send(sock, wire.pack({"op": "enter"}))
    data, fds = wire.receive(sock)
    if len(fds) != 3:
        raise ConnectionResetError("the keeper has ended")
    user, mounts, network = fds
    syscalls.setns(user, syscalls.CLONE_NEWUSER)
    syscalls.setns(mounts, syscalls.CLONE_NEWNS)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.close(user)
    os.close(mounts)
    told = wire.unpack(data)
    if not told["way"]:
        sys.stderr.write("dosirak: neither pasta nor slirp4netns is here (Debian: passt): containers have no way out\n")
    return lines.Line(sock, network, told["nameserver"])
