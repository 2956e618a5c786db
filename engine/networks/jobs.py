"""The jobs of the network thread that concern one container; those of a whole bridge stand in `bridges`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from dosirak.engine.networks import bridges, conntrack, links
from dosirak.engine.networks.namespaces import INTERFACE, Prepared, Wiring
from dosirak.engine.networks.rules import Publication
from dosirak.engine.networks.worker import Kernel


def wire(kernel: Kernel, wiring: Wiring, namespace: int | None = None, interface: str = INTERFACE) -> Prepared:
    """A new namespace with its link, or one more link in `namespace`."""
    if namespace is None:
        return kernel.namespaces.wired(wiring)
    return kernel.namespaces.extend(namespace, wiring, interface)


def settle(kernel: Kernel, namespace: int) -> None:
    """A namespace that somebody else has made is to be as ours are. Raises OSError, HostLimit."""
    kernel.namespaces.settle(namespace)


def route(
    kernel: Kernel,
    namespace: int,
    interface: str,
    gateway: IPv4Address | None,
    gateway6: IPv6Address | None,
) -> None:
    """Another way out of a namespace, or none."""
    kernel.namespaces.route(namespace, interface, gateway, gateway6)


def listen(kernel: Kernel, namespace: int) -> tuple[int, ...]:
    """A name server's sockets in a namespace. Raises OSError."""
    return kernel.namespaces.listen(namespace)


def publish(kernel: Kernel, opened: Sequence[Publication]) -> None:
    """Opens published ports."""
    kernel.firewall.publish(opened)
    conntrack.forget(opened)


def withdraw(kernel: Kernel, closed: Sequence[Publication]) -> None:
    """Closes published ports."""
    kernel.firewall.withdraw(closed)
    conntrack.forget(closed)


def let_go(kernel: Kernel, prepared: Prepared, bridge: int, closed: Sequence[Publication]) -> None:
    """Taking the veth off the bridge is quick (0.3 ms); its end is the kernel's, once the namespace is let go."""
    try:
        with contextlib.suppress(OSError):  # the link is gone already: so is what held the address
            links.detach(kernel.netlink, prepared.index)
        if prepared.address and bridge:
            links.forget_neighbour(kernel.netlink, bridge, prepared.address.ip)
        if prepared.address6 and bridge:
            links.forget_neighbour(kernel.netlink, bridge, prepared.address6.ip)
        if closed:
            withdraw(kernel, closed)
    finally:
        prepared.close()


def lower(kernel: Kernel, bridge: str, leaving: Sequence[str]) -> None:
    """Takes a bridge away, and the links that were on it before."""
    bridges.delete_links(kernel, leaving)
    bridges.lower_bridge(kernel, bridge)
