"""The keeper's process: `python -S -E -I keeper.py WAY NAMESERVER`, its listening socket being descriptor 3.

`WAY` is the pid of the program that leads outside, a child of this process, or 0; `NAMESERVER` the address at which it
stands for the host's resolver. Services talk to it in packets of `supervision.wire`:

    enter                             → answered with the nameserver and the namespaces: user, mount, network
    forward   port protocol target    [+ the bound socket]
    withdraw  port
    only      ports                   all others are withdrawn
    settle                            → answered when all before it is done
    end                               nobody needs it any more

While no service is connected it looks now and then whether any process is left in its user namespace, and ends with the
last: nobody would come for it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# -I leaves only the standard library on the path; the package is found from this file's own place.
if __name__ == "__main__" and not __package__:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_here))))

import gc  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402

from dosirak.engine.rootless.relay import TcpPort, UdpPort  # noqa: E402
from dosirak.engine.supervision import loop as loops  # noqa: E402
from dosirak.engine.supervision import wire  # noqa: E402

LISTENER_FD = 3
_BACKLOG = 4
_LOOK = 3.0
"""Seconds between two looks at who is left, while no service is there."""


class Keeper:
    """The state of the process."""

    def __init__(self, listener: socket.socket, way: int, nameserver: str) -> None:
        self._listener, self._way, self._nameserver = listener, way, nameserver
        self._loop = loops.Loop()
        self._ports: dict[str, TcpPort | UdpPort] = {}
        self._services: set[socket.socket] = set()
        self._spaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "mnt", "net")]
        listener.setblocking(False)
        listener.listen(_BACKLOG)  # again: whoever connects now sees this process as its peer, not the service
        self._loop.watch(listener.fileno(), loops.IN, lambda _: self._accept())
        if way:
            pidfd = os.pidfd_open(way)
            self._loop.watch(pidfd, loops.IN, lambda _: self._way_ended(pidfd))
        self._loop.after(_LOOK, self._look)  # whoever started us connects; if it dies before that, nobody does

    def run(self) -> None:
        """Serve until nobody needs it."""
        self._loop.run()
        try:
            os.unlink(self._listener.getsockname())
        except OSError:
            pass
        if self._way:
            os.kill(self._way, signal.SIGKILL)
            os.waitpid(self._way, 0)

    def _way_ended(self, pidfd: int) -> None:
        """It can't be started again from here: it would have to begin in the host's network."""
        self._loop.forget(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(self._way, 0)
        self._way = 0
        said = f"ended with status {os.waitstatus_to_exitcode(status)}"
        sys.stderr.write(f"dosirak keeper: what leads outside has {said}; containers have no way out\n")
        sys.stderr.flush()

    def _accept(self) -> None:
        try:
            service, _ = self._listener.accept()
        except OSError:
            return
        if wire.peer(service)[1] != 0:  # the user itself is root in here
            service.close()
            return
        service.setblocking(False)
        self._services.add(service)
        self._loop.watch(service.fileno(), loops.IN, lambda _: self._hear(service))

    def _hear(self, service: socket.socket) -> None:
        try:
            data, fds = wire.receive(service)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if data:
            self._do(service, wire.unpack(data), fds)
            return
        self._loop.forget(service.fileno())
        service.close()
        self._services.discard(service)
        self._loop.after(_LOOK, self._look)

    def _do(self, service: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
        op = message["op"]
        if op == "enter":
            _answer(service, {"nameserver": self._nameserver, "way": self._way}, self._spaces)
        elif op == "forward":
            self._withdraw(message["port"])
            kind = TcpPort if message["protocol"] == "tcp" else UdpPort
            self._ports[message["port"]] = kind(self._loop, socket.socket(fileno=fds[0]), tuple(message["target"]))
        elif op == "withdraw":
            self._withdraw(message["port"])
        elif op == "only":
            for port in set(self._ports) - set(message["ports"]):
                self._withdraw(port)
        elif op == "settle":
            _answer(service, {})
        elif op == "end":
            self._loop.stop()

    def _withdraw(self, port: str) -> None:
        if found := self._ports.pop(port, None):
            found.close()

    def _look(self) -> None:
        if self._services:
            return
        if _others():
            self._loop.after(_LOOK, self._look)
        else:
            self._loop.stop()


def _answer(service: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """To one that may have been killed while it waited: its end is heard next."""
    try:
        wire.send(service, wire.pack(message), fds)
    except OSError:
        pass


def _others() -> bool:
    """Whether any process is left in this user namespace but this one and, in its session, what leads outside."""
    own, session = os.stat("/proc/self/ns/user").st_ino, os.getsid(0)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}/ns/user").st_ino == own and os.getsid(int(name)) != session:
                    return True
            except OSError:
                continue
    return False


def main(way: int, nameserver: str) -> None:
    """The process."""
    os.set_inheritable(LISTENER_FD, False)
    os.chdir("/")
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper = Keeper(socket.socket(fileno=LISTENER_FD), way, nameserver)
    gc.freeze()
    keeper.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
