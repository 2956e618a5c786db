"""Address management: subnets that don't collide, addresses never given out twice."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.errors import Forbidden, HostLimit, InvalidRequest
from dosirak.engine.networks import configuration
from dosirak.engine.networks.addresses import (
    DEFAULT_POOLS,
    Allocator,
    Pools,
    choose_subnet,
    choose_subnet6,
    unique_local,
)

SMALL = IPv4Network("10.0.0.0/29")


def small() -> Allocator:
    return Allocator("bridge", SMALL, [SMALL[1]])


def test_pools_are_docker_s() -> None:
    every = [part for pool, size in DEFAULT_POOLS for part in pool.subnets(new_prefix=size)]
    assert [str(part) for part in every[:2]] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert [str(part) for part in every[14:17]] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert len(every) == 31


@pytest.mark.parametrize(
    ("used", "chosen"),
    [
        ([], "172.17.0.0/16"),
        (["172.17.0.0/16"], "172.18.0.0/16"),
        (["172.17.42.0/24", "172.18.1.1/32"], "172.19.0.0/16"),
        (["172.16.0.0/12"], "192.168.0.0/20"),
        (["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"),
    ],
)
def test_a_subnet_overlaps_nothing_the_host_uses(used: list[str], chosen: str) -> None:
    assert choose_subnet([IPv4Network(subnet) for subnet in used]) == IPv4Network(chosen)


def test_no_subnet_left_is_docker_s_error() -> None:
    with pytest.raises(InvalidRequest, match="all predefined address pools have been fully subnetted"):
        choose_subnet([IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")])


def test_addresses_begin_after_the_gateway_and_rotate() -> None:
    allocator = small()
    first, second = allocator.take(), allocator.take()
    assert (str(first), str(second)) == ("10.0.0.2", "10.0.0.3")
    allocator.release(first)
    assert [str(allocator.take()) for _ in range(4)] == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]


def test_a_full_network_says_so() -> None:
    allocator = small()
    for _ in range(5):
        allocator.take()
    with pytest.raises(HostLimit, match="no available IPv4 addresses on this network's address pools: bridge"):
        allocator.take()


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.7", "10.0.1.1", "127.0.0.1"])
def test_an_address_that_is_no_host_of_the_subnet_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest, match="does not belong to any of this network's subnets"):
        small().reserve(IPv4Address(address))


def test_an_address_in_use_is_refused() -> None:
    allocator = small()
    for address in (allocator.take(), SMALL[1]):
        with pytest.raises(Forbidden, match="Address already in use"):
            allocator.reserve(address)


@given(st.lists(st.one_of(st.just(None), st.integers(0, 5), st.tuples(st.integers(2, 6))), max_size=60))
def test_no_address_is_ever_out_twice(steps: list[int | tuple[int] | None]) -> None:
    """None: take one; a number: give that one of those out back; a tuple: ask for exactly this host of the subnet."""
    allocator, out = small(), []
    for step in steps:
        if isinstance(step, int):
            if out:
                allocator.release(out.pop(step % len(out)))
            continue
        wanted = SMALL[step[0]] if step else None
        try:
            if wanted:
                allocator.reserve(wanted)
            address = wanted or allocator.take()
        except (Forbidden, HostLimit):
            assert wanted in out if wanted else len(out) == 5
            continue
        assert address not in (*out, SMALL[1])
        out.append(address)


def test_pools_that_are_configured_are_used_instead(tmp_path: Path) -> None:
    text = (
        '[networks]\ndefault-address-pools = [{base = "10.9.0.0/24", size = 25}, {base = "fd00:9::/48", size = 64}]\n'
    )
    (tmp_path / "dosirak.toml").write_text(text)
    pools = configuration.pools(tmp_path, b"seed")
    first = choose_subnet([], pools)
    assert [str(first), str(choose_subnet([first], pools))] == ["10.9.0.0/25", "10.9.0.128/25"]
    with pytest.raises(InvalidRequest, match="fully subnetted"):
        choose_subnet([IPv4Network("10.0.0.0/8")], pools)
    assert str(choose_subnet6([IPv6Network("fd00:9::/64")], pools)) == "fd00:9:0:1::/64"


def test_without_a_configuration_they_are_docker_s_and_the_root_s_own(tmp_path: Path) -> None:
    assert configuration.pools(tmp_path, b"seed") == Pools(DEFAULT_POOLS, ((unique_local(b"seed"), 64),))
    assert unique_local(b"seed") != unique_local(b"other") and str(unique_local(b"seed")).startswith("fd")


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ('{base = "10.9.0.1/24", size = 25}', "has host bits set"),
        ('{base = "10.9.0.0/24", size = 16}', "it must be from 24 to 30"),
        ('{base = "10.9.0.0/24"}', "missing required field `size`"),
    ],
)
def test_a_pool_that_is_none_is_told(tmp_path: Path, pool: str, words: str) -> None:
    (tmp_path / "dosirak.toml").write_text(f"[networks]\ndefault-address-pools = [{pool}]\n")
    with pytest.raises(InvalidRequest, match=words):
        configuration.pools(tmp_path, b"seed")
