"""Where bridges, rules and the host's ends of containers' links are: the host's network namespace, or a keeper's.

For root both are one: the service's own. An ordinary user's service stays in the host's network, and its bridges are in
the network namespace that its keeper holds (`rootless`): the network thread and the name server live there, and what
arrives at published ports is carried there.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dosirak.engine.networks.files import nameservers
from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns

if TYPE_CHECKING:
    from dosirak.engine.networks.model import BoundPort
    from dosirak.engine.rootless import Line

# linux/sockios.h, netdevice(7): struct ifreq
_SIOCGIFINDEX = 0x8933
_IFREQ = struct.Struct("16si20x")


class Home:
    """Parameters: `keeper`: whose network namespace it is; None for this process's own."""

    def __init__(self, keeper: Line | None = None) -> None:
        self._keeper = keeper
        self._socket: socket.socket | None = None

    @property
    def namespace(self) -> int | None:
        """A descriptor of the namespace; None for this process's own."""
        return self._keeper.namespace if self._keeper else None

    def enter(self) -> None:
        """Take the calling thread there, for good."""
        if self._keeper:
            setns(self._keeper.namespace, CLONE_NEWNET)

    def index_of(self, name: str) -> int | None:
        """The index of the link with this name, or None. From any thread."""
        if self._keeper is None:
            try:
                return socket.if_nametoindex(name)
            except OSError:
                return None
        if self._socket is None:
            # A socket belongs to the namespace it was made in, and a thread can't come back from there.
            maker = threading.Thread(target=self._make_socket)
            maker.start()
            maker.join()
        try:
            answer = fcntl.ioctl(self._socket, _SIOCGIFINDEX, _IFREQ.pack(name.encode(), 0))  # type: ignore[arg-type]
        except OSError:
            return None
        return int(_IFREQ.unpack(answer)[1])

    def _make_socket(self) -> None:
        self.enter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def nameserver(self) -> str:
        """What is asked from there instead of a resolver on the host's loopback; "" for nothing."""
        return self._keeper.nameserver if self._keeper else ""

    def resolvers(self, resolv_conf: str) -> list[str]:
        """The name servers of the host's resolv.conf as they are asked from there: behind the host's own loopback there
        is nobody, but what leads outside knows the host's resolver."""
        servers = nameservers(resolv_conf)
        if self._keeper is None:
            return servers
        reachable = [server for server in servers if not server.startswith("127.") and server != "::1"]
        return reachable or [server for server in (self.nameserver,) if server]

    # Published ports: kernel rules lead from the host's ports to containers, where the host's network is the bridges'.

    def forward(self, port: BoundPort, held: socket.socket, ip: str) -> None:
        """Carry what comes in at the host's `port`, on the socket that holds it, to the container. Raises HostLimit."""
        if self._keeper and port.protocol in ("tcp", "udp"):
            self._keeper.forward(_name(port), port.protocol, (ip, port.container_port), held)

    def withdraw(self, port: BoundPort) -> None:
        """Carry nothing more."""
        if self._keeper:
            self._keeper.withdraw(_name(port))

    def settle(self) -> bool:
        """Wait until withdrawn ports are free. Returns whether any may have been held."""
        if self._keeper:
            self._keeper.settle()
        return self._keeper is not None

    def keep(self, ports: Iterable[BoundPort]) -> None:
        """Of what an earlier service had carried only these go on."""
        if self._keeper:
            self._keeper.only(map(_name, ports))


def _name(port: BoundPort) -> str:
    return f"{port.protocol}/{port.host_ip}/{port.host_port}"
