"""Address management, the pure part: which subnet a network gets, which address a container gets.

What is in use is kept in memory here and durably in the database's `leases` (`records.py`); an address is free again
only after its veth has left the bridge (`release`), so that no two hosts ever answer for one address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

import msgspec

from dosirak.engine.errors import Forbidden, HostLimit, InvalidRequest

# Docker's local pools (moby: ipamutils), each with the length of the parts that networks get.
DEFAULT_POOLS = (
    *((IPv4Network(f"172.{second}.0.0/16"), 16) for second in range(17, 32)),
    (IPv4Network("192.168.0.0/16"), 20),
)


class Pools(msgspec.Struct, frozen=True):
    """What networks get subnets from that name none: larger networks, and how long (in bits) a part's prefix is."""

    four: tuple[tuple[IPv4Network, int], ...] = DEFAULT_POOLS
    six: tuple[tuple[IPv6Network, int], ...] = ()


_NONE_LEFT = "all predefined address pools have been fully subnetted"
_Address = TypeVar("_Address", IPv4Address, IPv6Address)


def unique_local(seed: bytes) -> IPv6Network:
    """A root's own /48 of IPv6 (RFC 4193: fd and 40 bits that nobody else is likely to have)."""
    return IPv6Network((b"\xfd" + hashlib.sha256(seed).digest()[:5] + bytes(10), 48))


def choose_subnet6(used: Iterable[IPv6Network], pools: Pools) -> IPv6Network:
    """`choose_subnet` for IPv6."""
    used = list(used)
    for pool, size in pools.six:
        for subnet in pool.subnets(new_prefix=size):
            if not any(subnet.overlaps(other) for other in used):
                return subnet
    raise InvalidRequest(_NONE_LEFT)


def choose_subnet(used: Iterable[IPv4Network], pools: Pools = Pools()) -> IPv4Network:
    """The first part of a pool that overlaps nothing in `used`. Raises InvalidRequest when all are taken."""
    used = list(used)
    for pool, size in pools.four:
        for subnet in pool.subnets(new_prefix=size):
            if not any(subnet.overlaps(other) for other in used):
                return subnet
    raise InvalidRequest(_NONE_LEFT)


def overlap(subnet: IPv4Network, used: Iterable[IPv4Network]) -> bool:
    """Whether a subnet somebody asked for takes addresses away from those in `used`.

    A part of a wider one is fine: the host may route 10.0.0.0/8 somewhere, and the narrower route wins.
    """
    return any(subnet.supernet_of(other) for other in used)


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """The address of a bridge in its subnet: the first, as Docker has it."""
    return subnet[1]


class Allocator(Generic[_Address]):
    """The addresses of one subnet: next-free, rotating (an address freed a moment ago is the last to come again).

    Parameters: `network` names it in messages; `reserved` are never given; `part`: what is given, if not all of it.
    """

    def __init__(
        self,
        network: str,
        subnet: IPv4Network | IPv6Network,
        reserved: Iterable[_Address],
        part: IPv4Network | IPv6Network | None = None,
    ) -> None:
        self._network = network
        self._subnet = subnet
        self._lowest = int(subnet.network_address) + 1
        # IPv6 has no broadcast address.
        self._highest = int(subnet.broadcast_address) - (subnet.version == 4)
        chosen = part or subnet
        self._first = max(self._lowest, int(chosen.network_address))
        self._last = min(self._highest, int(chosen.broadcast_address))
        self._taken = {int(address) for address in reserved}
        self._next = self._first

    def take(self) -> _Address:
        """The next free address. Raises HostLimit when there is none."""
        size = self._last - self._first + 1
        for step in range(size):
            candidate = self._first + (self._next - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._next = candidate + 1
                return self._address(candidate)
        raise HostLimit(
            f"no available IPv{self._subnet.version} addresses on this network's address pools: {self._network}"
        )

    def reserve(self, address: _Address) -> None:
        """Takes exactly this address. Raises InvalidRequest outside the subnet, Forbidden when it is in use."""
        number = int(address)
        if not self._lowest <= number <= self._highest:
            raise InvalidRequest(f"invalid address {address}: It does not belong to any of this network's subnets")
        if number in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(number)
        if self._first <= number <= self._last:
            self._next = max(self._next, number + 1)

    def release(self, address: _Address) -> None:
        """Gives an address back."""
        self._taken.discard(int(address))

    def _address(self, number: int) -> _Address:
        return type(self._subnet.network_address)(number)  # type: ignore[return-value]
