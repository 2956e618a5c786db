"""`network create`'s addresses: ranges, gateways and reserved addresses, each with the subnet it lies in. Pure.

The rules and words are the docker CLI's (docker/cli, command/network/create.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

_Subnet = IPv4Network | IPv6Network


def pools(
    subnets: Iterable[str], ranges: Iterable[str], gateways: Iterable[str], reserved: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return IPAM.Config. Raises ValueError for what belongs to no subnet, or twice to one."""
    subnets, ranges, gateways = _split(subnets), _split(ranges), _split(gateways)
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    found: list[tuple[_Subnet, dict[str, Any]]] = []
    for text in subnets:
        subnet = _network(text)
        if any(subnet.version == other.version and subnet.overlaps(other) for other, _ in found):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        found.append((subnet, {"Subnet": text}))
    for text in ranges:
        part = _network(text)
        _set(found, "range", "ranges", "IPRange", text, [one for one in found if _within(part, one[0])])
    for text in gateways:
        _set(found, "gateway", "gateways", "Gateway", text, _holding(found, text))
    for name, text in reserved.items():
        holding = _holding(found, text)
        if not holding:
            raise ValueError(f"no matching subnet for aux-address {text}")
        holding[0][1].setdefault("AuxiliaryAddresses", {})[name] = text
    return [pool for _, pool in found]


def _split(values: Iterable[str]) -> list[str]:
    """A value may be several, with commas between."""
    return [part for value in values or () for part in value.split(",")]


def _network(text: str) -> _Subnet:
    try:
        if "/" not in text:
            raise ValueError
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"invalid CIDR address: {text}") from None


def _within(part: _Subnet, subnet: _Subnet) -> bool:
    return part.version == subnet.version and subnet.supernet_of(part)  # type: ignore[arg-type]


def _holding(found: Sequence[tuple[_Subnet, dict[str, Any]]], text: str) -> list[tuple[_Subnet, dict[str, Any]]]:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"invalid address: {text}") from None
    return [one for one in found if address in one[0]]


def _set(
    found: Sequence[tuple[_Subnet, dict[str, Any]]],
    what: str,
    several: str,
    key: str,
    text: str,
    holding: Sequence[tuple[_Subnet, dict[str, Any]]],
) -> None:
    if not holding:
        raise ValueError(f"no matching subnet for {what} {text}")
    subnet, pool = holding[0]
    if key in pool:
        place = "on" if what == "range" else "for"
        raise ValueError(
            f"cannot configure multiple {several} ({text}, {pool[key]}) {place} the same subnet ({subnet})"
        )
    pool[key] = text
