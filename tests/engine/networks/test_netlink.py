"""The small rtnetlink encoder, checked by the kernel and by pyroute2's eyes."""

from __future__ import annotations

import errno
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.networks import links
from dosirak.engine.networks.netlink import Netlink, attribute, attributes
from support.wires import Namespace


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_they_went(wanted: dict[int, bytes]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in wanted.items())
    assert len(data) % 4 == 0
    assert attributes(b"1234" + data, 4) == wanted


@given(st.binary(max_size=64))
def test_garbage_is_no_endless_loop(data: bytes) -> None:
    attributes(data)


def test_links_are_listed_as_the_kernel_has_them(host: Namespace) -> None:
    with Netlink() as netlink:
        links.create_bridge(netlink, "br-test", "02:42:ac:11:00:01", 1400)
        links.set_alias(netlink, host.links()["br-test"]["index"], "somebody's: alias")
        found = {link.name: link for link in links.list_links(netlink)}
        seen = host.links()["br-test"]
        assert (seen["kind"], seen["mac"], seen["mtu"], seen["alias"], seen["up"]) == (
            "bridge",
            "02:42:ac:11:00:01",
            1400,
            "somebody's: alias",
            False,
        )
        bridge = found["br-test"]
        assert (bridge.index, bridge.kind, bridge.mac) == (seen["index"], "bridge", "02:42:ac:11:00:01")
        assert bridge.alias == "somebody's: alias"
        links.delete(netlink, bridge.index)
        links.delete(netlink, bridge.index)
        assert "br-test" not in host.links() and links.index_of("br-test") is None


def test_a_pair_is_made_across_namespaces(host: Namespace) -> None:
    other = Namespace.new()
    with Netlink() as netlink:
        here, there = links.create_veth(netlink, "veth-a", 1400, "eth0", "02:42:ac:11:00:02", other.fd)
        assert host.links()["veth-a"]["index"] == here
        assert other.links()["eth0"]["index"] == there
        assert other.links()["eth0"]["mac"] == "02:42:ac:11:00:02"
        links.delete(netlink, here)
    other.close()


def test_addresses_and_routes_of_the_host_are_seen(host: Namespace, outside: Namespace) -> None:
    host.route("203.0.113.0/24", "198.51.100.2")
    index = host.links()["uplink"]["index"]
    with Netlink() as netlink:
        assert (index, IPv4Interface("198.51.100.1/24")) in list(links.list_addresses(netlink))
        routes = list(links.list_routes(netlink))
    assert (index, IPv4Network("203.0.113.0/24")) in routes
    assert all(network.prefixlen for _, network in routes)


def test_errors_carry_the_kernel_s_explanation(host: Namespace) -> None:
    with Netlink() as netlink:
        with pytest.raises(OSError, match="Nexthop has invalid gateway") as caught:
            links.replace_default_route(netlink, links.LOOPBACK, IPv4Address("192.0.2.9"))
        assert caught.value.errno == errno.ENETUNREACH
        with pytest.raises(OSError) as caught:
            links.set_up(netlink, 4711)
        assert caught.value.errno == errno.ENODEV


def test_a_neighbour_nobody_knows_is_forgotten_in_peace(host: Namespace) -> None:
    with Netlink() as netlink:
        links.forget_neighbour(netlink, links.LOOPBACK, IPv4Address("192.0.2.9"))
        links.forget_neighbour(netlink, 4711, IPv4Address("192.0.2.9"))


def test_a_socket_keeps_to_the_namespace_it_was_opened_in(host: Namespace) -> None:
    other = Namespace.new()
    inside = other.run(Netlink)
    with inside:
        links.add_address(inside, links.LOOPBACK, IPv4Interface("192.0.2.7/32"))
    assert "192.0.2.7/32" in other.addresses("lo") and "192.0.2.7/32" not in host.addresses("lo")
    other.close()
