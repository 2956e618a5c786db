"""Address management, the pure part: which subnet a network gets, which address a container gets.

What is in use is kept in memory here and durably in the database's `leases` (`records.py`); an address is free again
only after its veth has left the bridge (`release`), so that no two hosts ever answer for one address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from dosirak.engine.errors import Conflict, InvalidRequest, Unavailable

# Docker's local pools (moby: ipamutils): 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in parts of /20.
DEFAULT_POOLS = (
    *(IPv4Network(f"172.{second}.0.0/16") for second in range(17, 32)),
    *IPv4Network("192.168.0.0/16").subnets(new_prefix=20),
)


def choose_subnet(used: Iterable[IPv4Network], pools: Sequence[IPv4Network] = DEFAULT_POOLS) -> IPv4Network:
    """The first pool that overlaps nothing in `used`. Raises Unavailable when all are taken, in Docker's words."""
    used = list(used)
    for pool in pools:
        if not any(pool.overlaps(other) for other in used):
            return pool
    raise Unavailable("all predefined address pools have been fully subnetted")


class Allocator:
    """The addresses of one subnet: next-free, rotating (an address freed a moment ago is the last to come again)."""

    def __init__(self, network: str, subnet: IPv4Network, gateway: IPv4Address) -> None:
        self._network = network
        self._subnet = subnet
        self._first = int(subnet.network_address) + 1
        self._last = int(subnet.broadcast_address) - 1
        self._taken = {int(gateway)}
        self._next = self._first

    def take(self) -> IPv4Address:
        """The next free address. Raises Unavailable when there is none."""
        size = self._last - self._first + 1
        for step in range(size):
            candidate = self._first + (self._next - self._first + step) % size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._next = candidate + 1
                return IPv4Address(candidate)
        raise Unavailable(f"no available IPv4 addresses on this network's address pools: {self._network}")

    def reserve(self, address: IPv4Address) -> None:
        """Takes exactly this address. Raises InvalidRequest outside the subnet, Conflict when it is in use."""
        number = int(address)
        if not self._first <= number <= self._last:
            raise InvalidRequest(f"invalid address {address}: It does not belong to any of this network's subnets")
        if number in self._taken:
            raise Conflict(f"network {self._network}: address {address} is already in use")
        self._taken.add(number)
        self._next = max(self._next, number + 1)

    def release(self, address: IPv4Address) -> None:
        """Gives an address back."""
        self._taken.discard(int(address))
