"""Where networks are configured: `dosirak.toml`, in the engine's data directory or where settings are looked for.

    [networks]
    default-address-pools = [{base = "10.200.0.0/16", size = 24}, {base = "fd00:200::/48", size = 64}]

The same key and words as in Docker's daemon.json: networks that name no subnet get parts of `base`, each with
a prefix of `size` bits.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import msgspec

from dosirak.engine import settings
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.networks.addresses import DEFAULT_POOLS, Pools, unique_local


class _Base(msgspec.Struct, frozen=True):
    base: str
    size: int


class _Table(msgspec.Struct, frozen=True, rename="kebab"):
    default_address_pools: list[_Base] = []


def pools(data: Path, seed: bytes) -> Pools:
    """What networks of the engine with its data at `data` get their subnets from.

    Parameters: `seed` is what a /48 of IPv6 is made of where none is configured. Raises InvalidRequest.
    """
    table: Any = settings.read_file(data / "dosirak.toml").get("networks") or settings.config_file().get("networks")
    try:
        asked = msgspec.convert(table or {}, _Table).default_address_pools
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"dosirak.toml: networks: {error}") from error
    four: list[tuple[IPv4Network, int]] = []
    six: list[tuple[IPv6Network, int]] = []
    for pool in asked:
        network = _base(pool)
        if isinstance(network, IPv4Network):
            four.append((network, pool.size))
        else:
            six.append((network, pool.size))
    return Pools(tuple(four) or DEFAULT_POOLS, tuple(six) or ((unique_local(seed), 64),))


def _base(pool: _Base) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(pool.base)
    except ValueError as error:
        raise InvalidRequest(f"dosirak.toml: networks: default-address-pools: {error}") from error
    largest = network.max_prefixlen - 2  # a network, its gateway, a container
    if not network.prefixlen <= pool.size <= largest:
        raise InvalidRequest(
            f"dosirak.toml: networks: default-address-pools: size {pool.size} of {pool.base}: it must be from"
            f" {network.prefixlen} to {largest}"
        )
    return network
