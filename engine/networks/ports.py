"""Published ports on the host's side: which are taken, and keeping others off them.

The kernel's rules alone (`rules.py`) would take packets away from whoever listens on the port already, unnoticed. So
each published port is also held by a socket bound to it: whoever comes second, be it another program or we, is told so.
TCP sockets listen, for with SO_REUSEADDR (without which a closed server's TIME_WAIT would keep us off) only a listening
one excludes others (socket(7)); nothing ever reaches them, the rules come first.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from dosirak.engine.errors import HostLimit, InvalidRequest, NotSupported
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import BoundPort, PortBinding
from dosirak.engine.networks.rules import ANY, PROTOCOLS, Publication

# Docker's ephemeral range is the kernel's own, and this where that can't be read.
_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_DEFAULT_RANGE = (49153, 65535)
_TYPES = {
    "tcp": (socket.SOCK_STREAM, 0),
    "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


class PortTaken(HostLimit):
    """Someone has this port; worded as what Docker says after "driver failed programming external connectivity"."""


class Ports:
    """The engine's published ports."""

    def __init__(self, home: Home | None = None) -> None:
        """Parameters: `home`: where the bridges are, which may be another network than the host's."""
        self._home = home or Home()
        self._held: dict[BoundPort, socket.socket | None] = {}
        self._next_ephemeral = 0

    def reserve(self, bindings: Sequence[PortBinding], ip: str) -> list[BoundPort]:
        """Takes all of them or none, for the container with address `ip` (it stands in messages only).

        Raises PortTaken, InvalidRequest for an address or protocol that is none, NotSupported for IPv6.
        """
        taken: list[BoundPort] = []
        try:
            for binding in bindings:
                taken.append(self._reserve(binding, ip))
        except BaseException:
            self.release(taken)
            raise
        return taken

    def readopt(self, ports: Sequence[BoundPort], ip: str) -> None:
        """Holds again what a predecessor published; it works on even where the socket can't be had any more."""
        for port in ports:
            try:
                self._held[port] = held = _hold(port)
            except OSError:
                self._held[port] = None
            else:
                self._home.forward(port, held, ip)

    def release(self, ports: Sequence[BoundPort]) -> None:
        """Gives ports back."""
        for port in ports:
            held = self._held.pop(port, None)
            self._home.withdraw(port)
            if held:
                held.close()

    def _reserve(self, binding: PortBinding, ip: str) -> BoundPort:
        host_ip = _host_ip(binding)
        fixed = binding.host_port != 0 and binding.host_port_end in (0, binding.host_port)
        failure: PortTaken | None = None
        for number in self._candidates(binding):
            port = BoundPort(binding.container_port, binding.protocol, str(host_ip), number)
            try:
                self._take(port, ip)
            except PortTaken as error:
                if fixed:
                    raise
                failure = error
                continue
            if not binding.host_port:
                self._next_ephemeral = number + 1
            return port
        raise failure or PortTaken("all ports are allocated")

    def _candidates(self, binding: PortBinding) -> Iterator[int]:
        if binding.host_port:
            yield from range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1)
            return
        low, high = _ephemeral_range()
        start = self._next_ephemeral if low <= self._next_ephemeral <= high else low
        yield from range(start, high + 1)
        yield from range(low, start)

    def _take(self, port: BoundPort, ip: str) -> None:
        """Raises PortTaken, in the words Docker has for a port of its own and for a stranger's."""
        if any(_clash(port, other) for other in self._held):
            raise PortTaken(f"Bind for {port.host_ip}:{port.host_port} failed: port is already allocated")
        try:
            held = self._hold_now(port)
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:  # no SCTP in this kernel: nobody else can have the port either
                self._held[port] = None
                return
            reason = _reason(error, port.host_port)
            where = f"{port.host_ip}:{port.host_port}:{ip}:{port.container_port}/{port.protocol}"
            raise PortTaken(f"failed to bind host port for {where}: {reason}") from error
        self._held[port] = held
        try:
            self._home.forward(port, held, ip)
        except BaseException:
            self.release([port])
            raise

    def _hold_now(self, port: BoundPort) -> socket.socket:
        """Once more if it is in use and may be on its way to be given back. Raises OSError."""
        try:
            return _hold(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not self._home.settle():
                raise
        return _hold(port)


def publications(ports: Sequence[BoundPort], ip: IPv4Address) -> list[Publication]:
    """The rules' view of a container's ports."""
    return [
        Publication(PROTOCOLS[port.protocol], IPv4Address(port.host_ip), port.host_port, ip, port.container_port)
        for port in ports
    ]


def _reason(error: OSError, number: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "address already in use"
    if error.errno == errno.EACCES:
        return (
            f"permission denied: choose a port from 1024 on, or have net.ipv4.ip_unprivileged_port_start={number} set"
            " on this host (sysctl)"
        )
    return os.strerror(error.errno or 0).lower()


def _hold(port: BoundPort) -> socket.socket:
    kind, protocol = _TYPES[port.protocol]
    held = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        if port.protocol == "udp":
            held.bind((port.host_ip, port.host_port))
        else:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((port.host_ip, port.host_port))
            held.listen(1)
    except BaseException:
        held.close()
        raise
    return held


def _clash(one: BoundPort, other: BoundPort) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return one.host_ip == other.host_ip or str(ANY) in (one.host_ip, other.host_ip)


def _host_ip(binding: PortBinding) -> IPv4Address:
    if binding.protocol not in PROTOCOLS:
        raise InvalidRequest(f"invalid protocol: {binding.protocol}")
    if not 0 < binding.container_port < 65536 or not 0 <= binding.host_port < 65536 or binding.host_port_end > 65535:
        raise InvalidRequest(f"invalid port: {binding.container_port}/{binding.protocol}")
    try:
        address = ip_address(binding.host_ip) if binding.host_ip else ANY
    except ValueError as error:
        raise InvalidRequest(f"invalid IP address in port binding: {binding.host_ip!r}") from error
    if isinstance(address, IPv6Address):
        raise NotSupported(f"[{address}]:{binding.host_port or ''}: publishing on IPv6 addresses is not supported yet")
    return address


def _ephemeral_range() -> tuple[int, int]:
    try:
        with open(_RANGE_FILE) as file:
            low, high = file.read().split()
    except (OSError, ValueError):
        return _DEFAULT_RANGE
    return int(low), int(high)
