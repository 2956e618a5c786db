"""One container's sandbox as the service holds it, and what can be told from it alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface

import msgspec

from dosirak.engine.errors import NotFound
from dosirak.engine.networks.drivers import Attachment
from dosirak.engine.networks.home import Home
from dosirak.engine.networks.model import PREDEFINED, BoundPort, Endpoint, PortBinding, Resolver, Sandbox
from dosirak.engine.networks.namespaces import Prepared


class Link(msgspec.Struct):
    """One connection: what is recorded of it, and what the driver needs to undo it."""

    endpoint: Endpoint
    attachment: Attachment


class Box(msgspec.Struct):
    """One container. `fd` is a descriptor of the namespace of its own; `way_out` a network's id, "" without.

    `sockets`: a name server's, as long as it has not got them. `nameserver`: as `Sandbox` has it.
    """

    id: str
    container: str
    name: str
    hostname: str
    resolver: Resolver = Resolver()
    bindings: tuple[PortBinding, ...] = ()
    sockets: tuple[int, ...] = ()
    named: bool = False
    fd: int | None = None
    way_out: str = ""
    links: dict[str, Link] = msgspec.field(default_factory=dict)
    nameserver: str = ""

    def sandbox(self) -> Sandbox:
        """What others see of it."""
        return Sandbox(
            self.id, self.fd, tuple(link.endpoint for link in self.links.values()), self.named, self.nameserver
        )


def way_out(box: Box) -> str:
    """The network that is the way out: the highest priority, then by name, as Docker chooses; "" when none is one."""
    candidates: Iterable[Endpoint] = (link.endpoint for link in box.links.values() if link.attachment.gateway)
    return min(candidates, key=lambda one: (-one.priority, one.network), default=_NOWHERE).network_id


_NOWHERE = Endpoint(id="", sandbox_id="", container="", name="", network_id="", network="")


def has_names(endpoint: Endpoint) -> bool:
    """Whether the name server knows this network: Docker's own have no names."""
    return endpoint.network not in PREDEFINED


def free_interface(box: Box) -> str:
    """The name of a box's next interface."""
    taken = {link.endpoint.inner for link in box.links.values()}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def as_asked(port: BoundPort) -> PortBinding:
    """A request for the very port that is bound."""
    return PortBinding(port.container_port, port.protocol, port.host_ip, port.host_port)


def taken_over(endpoint: Endpoint, where: int | str | None, home: Home) -> Attachment | None:
    """A running container's connection again, by its process or its namespace's path; None if that has ended."""
    if where is None:
        return None
    prepared = None
    if endpoint.network != "host":
        with contextlib.suppress(NotFound):
            fd = open_namespace(where)
            address = IPv4Interface(f"{endpoint.ip}/{endpoint.prefix}") if endpoint.ip else None
            index = home.index_of(endpoint.interface) or 0 if endpoint.interface else 0
            address6 = IPv6Interface(f"{endpoint.ip6}/{endpoint.prefix6}") if endpoint.ip6 else None
            prepared = Prepared(fd, endpoint.interface, index, address, endpoint.mac, address6=address6)
        if prepared is None:
            return None
    return Attachment(prepared, endpoint.gateway, endpoint.ports, endpoint.gateway6)


def open_namespace(where: int | str) -> int:
    """A descriptor of a process's network namespace, or of the one at a path. Raises NotFound."""
    try:
        return os.open(f"/proc/{where}/ns/net" if isinstance(where, int) else where, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"process {where} has no network namespace: {error.strerror}") from error
