"""Bringing a network's bridge up and taking it away, on the network thread.

Two things of the host are shared by all engines: the choice of subnets, and `ip_forward`. Engines take turns at both
under a lock (`claims.py`). Whether forwarding was off before any engine came is noted on each bridge, in its alias; the
engine that takes the last bridge away switches it off again. What an engine left that was killed and never started
again (a test's, mostly) is cleared away by the next engine that passes: it would keep a subnet of 31 for ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface

import msgspec

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks import addresses, claims, files, links, names, sysctl
from dosirak.engine.networks.netlink import Netlink
from dosirak.engine.networks.rules import Bridge, Publication
from dosirak.engine.networks.worker import Kernel

_ALIAS = "Dosirak's, rules in table "
_FORWARDING_WAS_OFF = "forwarding was off"
_FORWARDING6_WAS_OFF = "no IPv6 forwarding"


class Wanted(msgspec.Struct, frozen=True):
    """A bridge as its network's record has it; if `movable`, the subnet may be another when the host uses this one.

    `taken` are the subnets of the engine's other networks; `publications` the published ports of containers that run
    already (after a service's restart); `forwarding_was_off` is what is known from an earlier `Raised`.
    """

    rules: Bridge
    gateway: IPv4Address
    mtu: int
    movable: bool
    taken: tuple[IPv4Network, ...] = ()
    publications: tuple[Publication, ...] = ()
    forwarding_was_off: bool = False
    address6: IPv6Interface | None = None
    pools: addresses.Pools = addresses.Pools()


class Raised(msgspec.Struct, frozen=True):
    """A bridge that is up: its index, the addresses it really has, and how the host was before any bridge."""

    index: int
    subnet: IPv4Network
    gateway: IPv4Address
    forwarding_was_off: bool


def host_subnets(kernel: Kernel) -> list[IPv4Network]:
    """What the host uses: its addresses' subnets, its routes' destinations, the resolvers it asks.

    Not what dead engines used: that is cleared away first.
    """
    with claims.turn():
        _sweep_dead(kernel, "")
        return list(_used(kernel.netlink))


def raise_bridge(kernel: Kernel, wanted: Wanted) -> Raised:
    """Makes the bridge, with its address and its rules, or takes over the one a predecessor left.

    Raises HostLimit when the name belongs to something else, or the host uses the subnet and it can't be moved.
    """
    name = wanted.rules.name
    with claims.turn():
        every = _sweep_dead(kernel, name)
        found = next((link for link in every if link.name == name), None)
        subnet = _choose_subnet(kernel.netlink, found, wanted)
        gateway = wanted.gateway if subnet == wanted.rules.subnet else addresses.gateway_of(subnet)
        was_off = wanted.forwarding_was_off or sysctl.read(sysctl.FORWARD) == "0"
        was_off = was_off or any(_FORWARDING_WAS_OFF in link.alias for link in every)
        # The rules come first: no bridge is ever up without them.
        kernel.firewall.install([msgspec.structs.replace(wanted.rules, subnet=subnet)], wanted.publications)
        try:
            if not found:
                links.create_bridge(kernel.netlink, name, names.mac_of(gateway), wanted.mtu)
            index = _configure(kernel.netlink, name, IPv4Interface((gateway, subnet.prefixlen)), wanted.address6)
            was_off6 = wanted.address6 is not None and sysctl.read(sysctl.FORWARD6) == "0"
            was_off6 = was_off6 or any(_FORWARDING6_WAS_OFF in link.alias for link in every)
            if not (found and found.alias):
                note = f"{_ALIAS}{kernel.firewall.table}" + (f", {_FORWARDING_WAS_OFF}" if was_off else "")
                note += f", {_FORWARDING6_WAS_OFF}" if was_off6 else ""
                links.set_alias(kernel.netlink, index, note)
            kernel.claims.hold(name)
            sysctl.write(sysctl.FORWARD, "1")
            if wanted.address6:
                sysctl.write(sysctl.FORWARD6, "1")
        except BaseException:
            if not found:
                kernel.firewall.uninstall(name)
            raise
    return Raised(index, subnet, gateway, was_off)


def lower_bridge(kernel: Kernel, name: str) -> None:
    """Takes the rules and the bridge away, and what is left on it; gone already is fine."""
    try:
        kernel.firewall.uninstall(name)
    finally:
        with claims.turn():
            _remove(kernel.netlink, name, _sweep_dead(kernel, name))
            kernel.claims.drop(name)


def settle_ports(kernel: Kernel, bridge: int, wanted: frozenset[str]) -> None:
    """Makes these links, and no others, the ports of the bridge (after a killed service, or a bridge made anew)."""
    for link in list(links.list_links(kernel.netlink)):
        if link.name in wanted and link.master != bridge:
            links.set_up(kernel.netlink, link.index, master=bridge)
            links.wait_carrying(kernel.netlink, link.index, bridge)
        elif link.master == bridge and link.name not in wanted:
            links.delete(kernel.netlink, link.index)


def delete_links(kernel: Kernel, names: Iterable[str]) -> None:
    """Deletes these links; gone already is fine."""
    for name in names:
        index = links.index_of(name)
        if index is not None:
            links.delete(kernel.netlink, index)


def _choose_subnet(netlink: Netlink, found: links.Link | None, wanted: Wanted) -> IPv4Network:
    """The subnet the bridge is to have: what one that exists has already, else what the host doesn't use."""
    asked = wanted.rules.subnet
    if found:
        if not _is_ours(found):
            raise HostLimit(
                f"{found.name}: an interface of this name exists that is not Dosirak's; remove or rename it"
            )
        own = [address.network for index, address in links.list_addresses(netlink) if index == found.index]
        return own[0] if own and wanted.movable else asked
    used = list(_used(netlink))
    if wanted.movable:
        return (
            addresses.choose_subnet([*used, *wanted.taken], wanted.pools) if any(map(asked.overlaps, used)) else asked
        )
    if addresses.overlap(asked, used):
        raise HostLimit(f"{wanted.rules.name}: its subnet {asked} is used by another network of this host")
    return asked


def _is_ours(link: links.Link) -> bool:
    """By its alias; one made by halves (killed before the alias was set) by the MAC it was made with."""
    return link.kind == "bridge" and (link.alias.startswith(_ALIAS) or link.mac.startswith("02:42:"))


def _sweep_dead(kernel: Kernel, own: str) -> list[links.Link]:
    """Removes tables and bridges of engines that are gone and have no container left. Returns the links that stay."""
    every = list(links.list_links(kernel.netlink))
    ports = {link.master for link in every}
    alive, dead = set(), []
    for link in every:
        if link.kind == "bridge" and link.alias.startswith(_ALIAS) and link.name != own:
            if link.index in ports or claims.is_held(link.name):
                alive.add(_table(link))
            else:
                dead.append(link)
    gone = [link for link in dead if _table(link) not in alive | {kernel.firewall.table}]
    for table in {_table(link) for link in gone}:
        kernel.firewall.remove_foreign(table)
    for link in gone:
        links.delete(kernel.netlink, link.index)
    return [link for link in every if link not in gone]


def _table(bridge: links.Link) -> str:
    """The nf_tables table of the engine a bridge belongs to, from its alias."""
    return bridge.alias.removeprefix(_ALIAS).partition(",")[0]


def _remove(netlink: Netlink, name: str, every: list[links.Link]) -> None:
    bridge = next((link for link in every if link.name == name and _is_ours(link)), None)
    if bridge is None:
        return
    for port in every:
        if port.master == bridge.index:
            links.delete(netlink, port.index)
    links.delete(netlink, bridge.index)
    others = [link for link in every if link.alias.startswith(_ALIAS) and link.index != bridge.index]
    if _FORWARDING_WAS_OFF in bridge.alias and not others:
        sysctl.write(sysctl.FORWARD, "0")
    if _FORWARDING6_WAS_OFF in bridge.alias and not others:
        sysctl.write(sysctl.FORWARD6, "0")


_SYSCTLS = (
    # 127.0.0.1 can be translated to a container (the rules keep containers from the host's loopback).
    ("ipv4/conf/{}/route_localnet", "1"),
    # What comes from the bridge with an address that isn't routed there is forged.
    ("ipv4/conf/{}/rp_filter", "1"),
    # Containers' router advertisements are not believed (CVE-2020-13401).
    ("ipv6/conf/{}/accept_ra", "0"),
)


def _configure(netlink: Netlink, name: str, address: IPv4Interface, address6: IPv6Interface | None) -> int:
    """Address, sysctls and "up", of a new bridge or of one found (perhaps made by halves). Returns its index."""
    index = links.index_of(name)
    if index is None:
        raise HostLimit(f"{name}: gone as soon as made: does something on this host remove links?")
    for sysctl_name, value in _SYSCTLS:
        sysctl.write(sysctl_name.format(name), value)
    sysctl.write(f"ipv6/conf/{name}/disable_ipv6", "0" if address6 else "1")
    if (index, address) not in links.list_addresses(netlink):
        links.add_address(netlink, index, address)
    if address6:
        if not sysctl.read(sysctl.FORWARD6):
            raise HostLimit("this host has no IPv6 (the kernel was started with ipv6.disable=1, or built without)")
        links.add_address6(netlink, index, address6)
    links.set_up(netlink, index)
    return index


def _used(netlink: Netlink) -> Iterator[IPv4Network]:
    """Subnets in use, the loopback's apart."""
    yield from (address.network for index, address in links.list_addresses(netlink) if index != links.LOOPBACK)
    yield from (network for index, network in links.list_routes(netlink) if index != links.LOOPBACK)
    for server in files.nameservers(files.read_resolv_conf()):
        with contextlib.suppress(ValueError):
            yield IPv4Network(server)
