"""The engine's nf_tables table as data: pure functions from bridges and published ports to JSON commands.

One table of family `ip` a engine, and one of family `ip6` with the same chains as soon as a network has IPv6;
everything in them is the engine's, nothing outside them is touched:

    chain guard        prerouting, raw        the host's loopback stays shut to containers (route_localnet opens it)
    chain forward      forward, filter        into a bridge come answers, neighbours and published ports, nothing else
    chain prerouting   prerouting, dstnat     published ports, for what comes from elsewhere
    chain output       output, dstnat         published ports, for the host itself
    chain postrouting  postrouting, srcnat    masquerade
    maps               who a published port leads to

Published ports are the kernel's work (DNAT), not a userland proxy's: no copy, no process, no extra latency, the
client's address stays visible, and they go on when the service is killed. The price is `route_localnet` on our own
bridges (so that 127.0.0.1 can be translated), which `guard` makes harmless. Protocols are numbers, for their names
need /etc/protocols, which slim hosts lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import msgspec

from dosirak.engine.networks.nftables import Command

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
ANY = IPv4Address("0.0.0.0")  # Docker's notation for "every address of the host"
ANY6 = IPv6Address("::")

_RAW, _DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100
_LOOPBACK: dict[str, IPv4Network | IPv6Network] = {"ip": IPv4Network("127.0.0.0/8"), "ip6": IPv6Network("::1/128")}
FAMILIES = ("ip", "ip6")

# A map's value can't be "address and port" in libnftables 1.0.6's JSON (it takes the type, makes a set of it, and dies
# of a segmentation fault at the first rule), so each key stands in two maps: one gives the address, one the port.
_ADDRESS = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}


class Bridge(msgspec.Struct, frozen=True):
    """What the rules must know of one network.

    `internal`: nothing passes between it and anywhere else but the host itself; `neighbours`: its containers may talk
    to each other; `masquerade`: they go out in the host's name.
    """

    name: str
    subnet: IPv4Network
    internal: bool = False
    neighbours: bool = True
    masquerade: bool = True
    subnet6: IPv6Network | None = None

    def part(self, family: str) -> IPv4Network | IPv6Network | None:
        """Its subnet of that family."""
        return self.subnet if family == "ip" else self.subnet6


class Publication(msgspec.Struct, frozen=True):
    """One published port: `host_ip` (ANY or ANY6 for every address of the host) and `host_port` lead to `ip`:`port`."""

    protocol: int
    host_ip: IPv4Address | IPv6Address
    host_port: int
    ip: IPv4Address | IPv6Address
    port: int

    @property
    def family(self) -> str:
        """Which of the tables it stands in."""
        return "ip" if self.ip.version == 4 else "ip6"


def install(
    table: str, bridges: Iterable[Bridge], publications: Sequence[Publication], family: str = "ip"
) -> list[Command]:
    """The whole table of a family, whether it exists or not: nothing old stays, no packet sees half of it."""
    bridges = [bridge for bridge in bridges if bridge.part(family)]
    at = {"family": family, "table": table}
    commands: list[Command] = [{"add": {"table": {"family": family, "name": table}}}]
    keys = {"host": ["inet_proto", _ADDRESS[family], "inet_service"], "any": ["inet_proto", "inet_service"]}
    for scope, key in keys.items():
        for value, kind in (("address", _ADDRESS[family]), ("port", "inet_service")):
            named = {**at, "name": f"{scope}_{value}"}
            commands += [{"add": {"map": {**named, "type": key, "map": kind}}}, {"flush": {"map": named}}]
    for name, (kind, hook, priority, rules) in _chains(bridges, family).items():
        chain = {**at, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}
        commands += [{"add": {"chain": chain}}, {"flush": {"chain": {**at, "name": name}}}]
        commands += [{"add": {"rule": {**at, "chain": name, "expr": rule}}} for rule in rules]
    return commands + publish(table, [one for one in publications if one.family == family])


def remove(table: str, family: str = "ip") -> list[Command]:
    """The end of the table of a family, whether it exists or not."""
    named = {"table": {"family": family, "name": table}}
    return [{"add": named}, {"delete": named}]


def publish(table: str, publications: Iterable[Publication]) -> list[Command]:
    """New published ports."""
    return [
        _element("add", publication.family, table, map_name, [[key, target]])
        for publication in publications
        for map_name, key, target in _entries(publication)
    ]


def withdraw(table: str, publications: Iterable[Publication]) -> list[Command]:
    """Published ports no more."""
    return [
        _element("delete", publication.family, table, map_name, [key])
        for publication in publications
        for map_name, key, _ in _entries(publication)
    ]


def _element(verb: str, family: str, table: str, map_name: str, elements: list[Any]) -> Command:
    return {verb: {"element": {"family": family, "table": table, "name": map_name, "elem": elements}}}


def _entries(publication: Publication) -> list[tuple[str, Any, Any]]:
    """The (map, key, value) triples of a published port."""
    scope = "any"
    key: list[int | str] = [publication.protocol, publication.host_port]
    if publication.host_ip not in (ANY, ANY6):
        scope, key = "host", [publication.protocol, str(publication.host_ip), publication.host_port]
    concat = {"concat": key}
    return [(f"{scope}_address", concat, str(publication.ip)), (f"{scope}_port", concat, publication.port)]


def _chains(bridges: list[Bridge], family: str) -> dict[str, tuple[str, str, int, list[list[Any]]]]:
    """Each chain's type, hook, priority and rules."""
    # Nothing from outside is for a loopback address; without this, what claims to be would be translated.
    never_loopback = [_is(f"{family} daddr", _prefix(_LOOPBACK[family])), {"return": None}]
    guard = [_guard(bridge) for bridge in bridges] if family == "ip" else []  # nothing is routed to ::1
    # The kernel takes ::1 from no link but the loopback (RFC 4291, 2.5.3), so no answer could come back to it; the
    # socket that holds the port refuses, and programs go on to 127.0.0.1.
    never_at_home = [never_loopback] if family == "ip6" else []
    return {
        "guard": ("filter", "prerouting", _RAW, guard),
        "forward": ("filter", "forward", _FILTER, [rule for bridge in bridges for rule in _forward(bridge)]),
        "prerouting": ("nat", "prerouting", _DSTNAT, [never_loopback, *_translate(family)]),
        "output": ("nat", "output", _DSTNAT, [*never_at_home, *_translate(family)]),
        "postrouting": (
            "nat",
            "postrouting",
            _SRCNAT,
            [rule for bridge in bridges for rule in _masquerade(bridge, family)],
        ),
    }


def _guard(bridge: Bridge) -> list[Any]:
    """Containers can't reach what listens on the host's loopback only."""
    return [_is("iifname", bridge.name), _is("ip daddr", _prefix(_LOOPBACK["ip"])), {"drop": None}]


def _forward(bridge: Bridge) -> list[list[Any]]:
    """Docker's rules: out goes everything; in come answers, neighbours, and what was translated to a published port.

    So a port that isn't published can't be reached by routing to the container's address, not even from the same LAN
    (moby#45610), and bridges, our own or others', are isolated from each other both ways.
    """
    into, out_of, drop = _is("oifname", bridge.name), _is("iifname", bridge.name), {"drop": None}
    # Neighbours come by here only where br_netfilter is on; else the bridge carries them without asking.
    between: list[list[Any]] = [[into, out_of, {"accept": None}]] if bridge.neighbours else []
    if bridge.internal:
        return [*between, [into, drop], [out_of, drop]]
    return [
        [into, _in("ct state", ["established", "related"]), {"accept": None}],
        *between,
        [into, _in("ct status", "dnat"), {"accept": None}],
        [into, drop],
    ]


def _translate(family: str) -> list[list[Any]]:
    """Published ports: those of one address first, then those of every address of the host."""
    local = _is("fib", "local")
    protocol, port = {"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}
    host = {"concat": [protocol, _LEFT[f"{family} daddr"], port]}
    every = {"concat": [protocol, port]}
    return [
        [
            local,
            {
                "dnat": {
                    "addr": {"map": {"key": key, "data": f"@{scope}_address"}},
                    "port": {"map": {"key": key, "data": f"@{scope}_port"}},
                }
            },
        ]
        for scope, key in (("host", host), ("any", every))
    ]


def _masquerade(bridge: Bridge, family: str) -> list[list[Any]]:
    """Three kinds of packets take the address of the link they leave by."""
    part = bridge.part(family)
    if bridge.internal or part is None:
        return []
    subnet, masquerade = _is(f"{family} saddr", _prefix(part)), {"masquerade": None}
    into = _is("oifname", bridge.name)
    outside = [[subnet, _is("oifname", bridge.name, "!="), masquerade]] if bridge.masquerade else []
    return [
        # From a container to the outside.
        *outside,
        # From the host's 127.0.0.1 to a published port: the container could not answer that address.
        [into, _is(f"{family} saddr", _prefix(_LOOPBACK[family])), masquerade],
        # From a container to a published port of a neighbour or of itself (hairpin): the answer must come back through
        # the host to be translated, which a neighbour's address would not make it do.
        [into, subnet, _in("ct status", "dnat"), masquerade],
    ]


_LEFT: dict[str, Any] = {
    "iifname": {"meta": {"key": "iifname"}},
    "oifname": {"meta": {"key": "oifname"}},
    "ip saddr": {"payload": {"protocol": "ip", "field": "saddr"}},
    "ip daddr": {"payload": {"protocol": "ip", "field": "daddr"}},
    "ip6 saddr": {"payload": {"protocol": "ip6", "field": "saddr"}},
    "ip6 daddr": {"payload": {"protocol": "ip6", "field": "daddr"}},
    "ct state": {"ct": {"key": "state"}},
    "ct status": {"ct": {"key": "status"}},
    "fib": {"fib": {"result": "type", "flags": ["daddr"]}},
}


def _is(left: str, right: Any, operator: str = "==") -> Any:
    return {"match": {"op": operator, "left": _LEFT[left], "right": right}}


def _in(left: str, right: Any) -> Any:
    """A bit mask has one of these bits."""
    return _is(left, right, "in")


def _prefix(network: IPv4Network | IPv6Network) -> Any:
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}
