"""Published ports on the host's side: which are taken, and keeping others off them.

The kernel's rules alone (`rules.py`) would take packets away from whoever listens on the port already, unnoticed. So
each published port is also held by a socket bound to it: whoever comes second, be it another program or we, is told so.
TCP sockets listen, for with SO_REUSEADDR (without which a closed server's TIME_WAIT would keep us off) only a listening
one excludes others (socket(7)); nothing ever reaches them, the rules come first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from dosirak.engine.errors import HostLimit, InvalidRequest, NotSupported
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import BoundPort, PortBinding
from dosirak.engine.networks.rules import ANY, ANY6, PROTOCOLS, Publication

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

    def reserve(self, bindings: Sequence[PortBinding], ip: str, *, six: bool = False) -> list[BoundPort]:
        """Takes all of them or none, for the container with address `ip` (it stands in messages only).

        Parameters: `six`: it has an IPv6 address too; a port of no address in particular is then one of both kinds.
        Raises PortTaken, InvalidRequest for an address or protocol that is none, NotSupported for IPv6 without `six`.
        """
        taken: list[BoundPort] = []
        try:
            for binding in bindings:
                taken += self._reserve(binding, ip, six)
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

    def _reserve(self, binding: PortBinding, ip: str, six: bool) -> list[BoundPort]:
        addresses = _host_ips(binding, six)
        fixed = binding.host_port != 0 and binding.host_port_end in (0, binding.host_port)
        failure: PortTaken | None = None
        for number in self._candidates(binding):
            taken: list[BoundPort] = []
            try:
                for address in addresses:
                    port = BoundPort(binding.container_port, binding.protocol, str(address), number)
                    self._take(port, ip)
                    taken.append(port)
            except PortTaken as error:
                self.release(taken)
                if fixed:
                    raise
                failure = error
                continue
            if not binding.host_port:
                self._next_ephemeral = number + 1
            return taken
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
            raise PortTaken(f"Bind for {_shown(port)}:{port.host_port} failed: port is already allocated")
        try:
            held = self._hold_now(port)
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:  # no SCTP in this kernel: nobody else can have the port either
                self._held[port] = None
                return
            reason = _reason(error, port.host_port)
            where = f"{_shown(port)}:{port.host_port}:{ip}:{port.container_port}/{port.protocol}"
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


def publications(ports: Sequence[BoundPort], ip: IPv4Address, ip6: IPv6Address | None) -> list[Publication]:
    """The rules' view of a container's ports: each leads to its address of the same kind."""
    found = []
    for port in ports:
        host_ip = ip_address(port.host_ip)
        target = ip if host_ip.version == 4 else ip6
        if target:
            number = PROTOCOLS[port.protocol]
            found.append(Publication(number, host_ip, port.host_port, target, port.container_port))
    return found


def _shown(port: BoundPort) -> str:
    return f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip


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
    if ":" in port.host_ip:
        # One that doesn't listen refuses what the rules can't lead on (::1); unless a TIME_WAIT is in its way.
        with contextlib.suppress(OSError):
            return _bound(port, listening=False)
    return _bound(port, listening=port.protocol != "udp")


def _bound(port: BoundPort, *, listening: bool) -> socket.socket:
    kind, protocol = _TYPES[port.protocol]
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    held = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if listening:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((port.host_ip, port.host_port))
        if listening:
            held.listen(1)
    except BaseException:
        held.close()
        raise
    return held


def _clash(one: BoundPort, other: BoundPort) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    if (":" in one.host_ip) != (":" in other.host_ip):
        return False
    return one.host_ip == other.host_ip or bool({str(ANY), str(ANY6)} & {one.host_ip, other.host_ip})


def _host_ips(binding: PortBinding, six: bool) -> list[IPv4Address | IPv6Address]:
    if binding.protocol not in PROTOCOLS:
        raise InvalidRequest(f"invalid protocol: {binding.protocol}")
    if not 0 < binding.container_port < 65536 or not 0 <= binding.host_port < 65536 or binding.host_port_end > 65535:
        raise InvalidRequest(f"invalid port: {binding.container_port}/{binding.protocol}")
    try:
        address = ip_address(binding.host_ip) if binding.host_ip else None
    except ValueError as error:
        raise InvalidRequest(f"invalid IP address in port binding: {binding.host_ip!r}") from error
    if isinstance(address, IPv6Address) and not six:
        raise NotSupported(
            f"[{address}]:{binding.host_port or ''}: the container has no IPv6 address to publish; connect it to a"
            " network made with --ipv6"
        )
    if address:
        return [address]
    return [ANY, ANY6] if six else [ANY]


def _ephemeral_range() -> tuple[int, int]:
    try:
        with open(_RANGE_FILE) as file:
            low, high = file.read().split()
    except (OSError, ValueError):
        return _DEFAULT_RANGE
    return int(low), int(high)
