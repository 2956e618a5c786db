"""The name server's process: `python -S -E -I server.py FD [FD]`, the first being the listening socket that
the services connect to, the second the network namespace it is to live in.

The service that is connected last tells it what is the case, in JSON messages over SOCK_SEQPACKET:

    begin                             all of the following is the whole; what isn't told until `end` is no more
    endpoint  id network name names address
    gone      id                      of an endpoint
    box       id networks links servers outside whole  [+ descriptors: namespace, UDP, TCP]
    unbox     id
    end

and is told, when it connects, the boxes whose sockets are here already. When no service is connected the process looks
now and then which boxes' containers still run, and when none does it ends: nobody would come for it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# -I leaves only the standard library on the path; the package is found from this file's own place.
if __name__ == "__main__" and not __package__:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(_here)))))

import gc  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402

from dosirak.engine.networks.dns.sandbox import Home, Sandbox  # noqa: E402
from dosirak.engine.networks.dns.upstream import Upstream  # noqa: E402
from dosirak.engine.networks.dns.zones import Box, Zones  # noqa: E402
from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns  # noqa: E402
from dosirak.engine.supervision import loop as loops  # noqa: E402
from dosirak.engine.supervision import wire  # noqa: E402

_MESSAGE = 1 << 18
_FDS = 3
# Seconds between two looks at whose containers still run, while no service is there to tell.
_ORPHANED = 5.0


class Server:
    """The state of the process."""

    def __init__(self, listener: socket.socket) -> None:
        self._loop = loops.Loop()
        self._zones = Zones()
        self._upstream = Upstream(self._loop)
        self._home = Home()
        self._boxes: dict[str, Sandbox] = {}
        self._told: tuple[set[str], set[str]] | None = None
        self._service: socket.socket | None = None
        self._listener = listener
        listener.setblocking(False)
        self._loop.watch(listener.fileno(), loops.IN, lambda _: self._accept())
        # Whoever started us connects; if it dies before that, nobody does.
        self._loop.after(_ORPHANED, self._look)

    def run(self) -> None:
        """Serve until nobody needs it."""
        self._loop.run()
        try:
            os.unlink(self._listener.getsockname())
        except OSError:
            pass

    def _accept(self) -> None:
        try:
            service, _ = self._listener.accept()
        except OSError:
            return
        if wire.peer(service)[1] != os.geteuid():
            service.close()
            return
        if self._service is not None:  # of a service that was killed a moment ago
            self._hang_up()
        self._service = service
        service.setblocking(False)
        self._loop.watch(service.fileno(), loops.IN, lambda _: self._hear())
        try:
            service.send(json.dumps({"pid": os.getpid(), "boxes": list(self._boxes)}).encode())
        except OSError:
            pass  # killed since it called: its end is heard next

    def _hear(self) -> None:
        while self._service is not None:
            try:
                data, fds, _, _ = socket.recv_fds(self._service, _MESSAGE, _FDS)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._hang_up()
                self._look()
                return
            self._do(json.loads(data), fds)

    def _hang_up(self) -> None:
        assert self._service
        self._loop.forget(self._service.fileno())
        self._service.close()
        self._service, self._told = None, None

    def _do(self, message: Mapping[str, Any], fds: list[int]) -> None:
        kind = message["op"]
        if kind == "endpoint":
            self._zones.add(
                message["id"],
                message["network"],
                message["name"],
                message["names"],
                socket.inet_aton(message["address"]),
                socket.inet_pton(socket.AF_INET6, message["address6"]) if message.get("address6") else b"",
            )
        elif kind == "gone":
            self._zones.remove(message["id"])
        elif kind == "box":
            self._set_box(message, fds)
        elif kind == "unbox":
            self._remove_box(message["id"])
        elif kind == "begin":
            self._told = set(), set()
        elif kind == "end":
            self._forget_untold()
        if self._told and kind in ("endpoint", "box"):
            self._told[kind == "box"].add(message["id"])

    def _set_box(self, message: Mapping[str, Any], fds: list[int]) -> None:
        box = Box(message["networks"], message["links"], message["servers"], message["outside"], message["whole"])
        known = self._boxes.get(message["id"])
        if not fds:
            if known is not None:
                known.box = box
            return
        if known is not None:
            known.close()
        namespace, udp, *tcp = fds
        sockets = socket.socket(fileno=udp), socket.socket(fileno=tcp[0]) if tcp else None
        self._boxes[message["id"]] = Sandbox(
            self._loop, self._zones, self._upstream, self._home, box, sockets, namespace
        )

    def _remove_box(self, box_id: str) -> None:
        known = self._boxes.pop(box_id, None)
        if known is not None:
            known.close()

    def _forget_untold(self) -> None:
        if self._told is None:
            return
        endpoints, boxes = self._told
        for endpoint in self._zones.endpoints - endpoints:
            self._zones.remove(endpoint)
        for box_id in set(self._boxes) - boxes:
            self._remove_box(box_id)
        self._told = None

    def _look(self) -> None:
        """Nobody tells us who has ended: let go of namespaces that no process is in, and end with the last."""
        if self._service is not None:
            return
        alive = _namespaces() if self._boxes else set()
        for box_id in [box_id for box_id, sandbox in self._boxes.items() if sandbox.inode not in alive]:
            self._remove_box(box_id)
        if self._boxes:
            self._loop.after(_ORPHANED, self._look)
        else:
            self._loop.stop()


def _namespaces() -> set[int]:
    """The inodes of all network namespaces with a process in them."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}/ns/net").st_ino)
            except OSError:
                continue
    return found


def main(fd: int, namespace: int = -1) -> None:
    """Become nobody's child and serve."""
    if os.fork():
        os._exit(0)
    if namespace >= 0:
        setns(namespace, CLONE_NEWNET)
    os.set_inheritable(fd, False)
    os.closerange(0, fd)
    os.closerange(fd + 1, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        if number != null:
            os.dup2(null, number)
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    server = Server(socket.socket(fileno=fd))
    gc.freeze()
    server.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
