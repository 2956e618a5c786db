"""Networks with IPv6: addresses, routes and NAT in the kernel of a host of the test's own, ports of both kinds."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from dosirak.engine.errors import Forbidden, HostLimit, InvalidRequest, NotSupported
from dosirak.engine.networks import Networks
from dosirak.engine.networks.model import CreateRequest, Ipam, Join, Pool, PortBinding
from support.wires import Namespace

SUBNET = "fd12:3456::/64"


async def made(networks: Networks, name: str = "six", **fields: object) -> None:
    fields.setdefault("ipam", Ipam(config=[Pool(subnet=SUBNET)]))
    await networks.create(CreateRequest(name=name, enable_ipv6=True, **fields))  # type: ignore[arg-type]


def six(namespace: Namespace, kind: int = socket.SOCK_STREAM) -> socket.socket:
    made = namespace.run(lambda: socket.socket(socket.AF_INET6, kind))
    made.settimeout(5)
    return made


def serve(namespace: Namespace, port: int) -> socket.socket:
    server = six(namespace)
    server.bind(("::", port))
    server.listen(4)
    return server


def reach(client: Namespace, server: socket.socket, address: str, port: int) -> str:
    """Connects, and returns the address that the server saw."""
    with six(client) as connection:
        connection.connect((address, port))
        accepted, where = server.accept()
        accepted.close()
        return str(where[0])


async def test_containers_have_addresses_of_both_kinds_and_reach_each_other(networks: Networks) -> None:
    await made(networks)
    one = await networks.join("a" * 64, "one", [Join(network="six", names=("one",))])
    two = await networks.join("b" * 64, "two", [Join(network="six", names=("two",), ip6="fd12:3456::99")])
    assert IPv6Address(one.endpoint.ip6) in IPv6Network(SUBNET) and two.endpoint.ip6 == "fd12:3456::99"
    assert one.endpoint.gateway6 == "fd12:3456::1" and one.endpoint.prefix6 == 64
    assert one.netns_fd and two.netns_fd
    with serve(Namespace(two.netns_fd, owned=False), 80) as server:
        assert reach(Namespace(one.netns_fd, owned=False), server, "fd12:3456::99", 80) == one.endpoint.ip6
    with pytest.raises(Forbidden, match="Address already in use"):
        await networks.join("c" * 64, "three", [Join(network="six", ip6="fd12:3456::99")])
    with pytest.raises(InvalidRequest, match="no configured subnet contains"):
        await networks.create(CreateRequest(name="four"))
        await networks.join("c" * 64, "three", [Join(network="four", ip6="fd12:3456::98")])


async def test_the_default_subnets_are_the_roots_own_and_differ(networks: Networks) -> None:
    found = []
    for name in ("one", "two"):
        await made(networks, name, ipam=None)
        network = networks.inspect(name)
        assert network.six and network.enable_ipv6
        found.append(IPv6Network(network.six.subnet))
    assert found[0] != found[1] and all(one.subnet_of(IPv6Network("fd00::/8")) for one in found)
    assert found[0].supernet(new_prefix=48) == found[1].supernet(new_prefix=48)


async def test_a_port_is_published_on_both_kinds_of_addresses(networks: Networks, host: Namespace) -> None:
    await made(networks)
    sandbox = await networks.join("a" * 64, "one", [Join(network="six")], ports=[PortBinding(80)])
    assert [port.host_ip for port in sandbox.ports] == ["0.0.0.0", "::"]
    (number,) = {port.host_port for port in sandbox.ports}
    assert sandbox.netns_fd
    inside = Namespace(sandbox.netns_fd, owned=False)
    with serve(inside, 80) as server:
        reach(host, server, "fd12:3456::1", number)  # an address of the host's
        reach(inside, server, "fd12:3456::1", number)  # from the container itself
        with six(host) as refused, pytest.raises(ConnectionRefusedError):
            refused.connect(("::1", number))
    with pytest.raises(HostLimit, match="already allocated"):
        await networks.join(
            "b" * 64, "two", [Join(network="six")], ports=[PortBinding(80, host_ip="::", host_port=number)]
        )
    await networks.create(CreateRequest(name="four"))
    with pytest.raises(NotSupported, match="made with --ipv6"):
        await networks.join("b" * 64, "two", [Join(network="four")], ports=[PortBinding(80, host_ip="::1")])


async def test_what_goes_out_is_masqueraded_and_nothing_else_comes_in(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    host.command("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "uplink", "nodad")
    outside.command("ip", "-6", "addr", "add", "2001:db8::2/64", "dev", "uplink", "nodad")
    outside.command("ip", "-6", "route", "add", SUBNET, "via", "2001:db8::1")
    await made(networks)
    sandbox = await networks.join("a" * 64, "one", [Join(network="six")])
    assert sandbox.netns_fd
    inside = Namespace(sandbox.netns_fd, owned=False)
    with serve(outside, 81) as server:
        assert reach(inside, server, "2001:db8::2", 81) == "2001:db8::1"
    with serve(inside, 80), six(outside) as stranger:
        stranger.settimeout(0.5)
        with pytest.raises(OSError):
            stranger.connect((sandbox.endpoint.ip6, 80))


async def test_an_internal_network_has_no_way_out(networks: Networks) -> None:
    await made(networks, internal=True)
    sandbox = await networks.join("a" * 64, "one", [Join(network="six")])
    assert sandbox.endpoint.gateway6 == "" and sandbox.endpoint.ip6


async def test_a_host_without_forwarding_is_so_again_afterwards(networks: Networks, host: Namespace) -> None:
    assert host.sysctl("ipv6/conf/all/forwarding") == "0"
    await made(networks)
    await networks.join("a" * 64, "one", [Join(network="six")])
    assert host.sysctl("ipv6/conf/all/forwarding") == "1"
    await networks.disconnect("a" * 64)
    await networks.remove("six")
    await networks.teardown()
    assert host.sysctl("ipv6/conf/all/forwarding") == "0"


async def test_a_second_network_brings_ipv6_and_takes_it_along(networks: Networks) -> None:
    await networks.create(CreateRequest(name="four"))
    await made(networks)
    sandbox = await networks.join("a" * 64, "one", [Join(network="four", names=("one",))])
    assert sandbox.endpoint.ip6 == "" and sandbox.netns_fd
    inside = Namespace(sandbox.netns_fd, owned=False)
    pid = int(Path("/proc/self").readlink().name)
    more = await networks.add("a" * 64, "one", Join(network="six", priority=9), hostname="one", pid=pid)
    routes = inside.command("ip", "-6", "route", "show", "default")
    assert more.endpoints[1].ip6 and "fd12:3456::1" in routes
    await networks.leave("a" * 64, "six")
    assert inside.command("ip", "-6", "route", "show", "default") == ""
