"""Published ports, reached from everywhere they should be and from nowhere else."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from dosirak.engine.errors import EngineError, HostLimit, InvalidRequest, NotSupported
from dosirak.engine.networks import BoundPort, Networks, PortBinding, Sandbox
from dosirak.engine.networks.nftables import Nftables
from dosirak.engine.networks.ports import Ports
from support.wires import Namespace, exchange, inside, tables

from .conftest import HOST_ADDRESS, OUTSIDE_ADDRESS

WEB = "a" * 64


@pytest.fixture(params=["0", "1"], ids=["bridging alone", "bridging asks the rules"])
async def web(networks: Networks, host: Namespace, request: pytest.FixtureRequest) -> Sandbox:
    """A container whose port 80 is published on the host's 8080, on every address; without and with br_netfilter."""
    host.set_sysctl("bridge/bridge-nf-call-iptables", request.param)
    return await networks.connect(WEB, "web", ports=[PortBinding(80, host_port=8080)])


@pytest.fixture
def server(web: Sandbox) -> Iterator[socket.socket]:
    with inside(web.netns_fd).listen(80) as listening:
        yield listening


def test_from_127_0_0_1(host: Namespace, server: socket.socket) -> None:
    assert exchange(host.connect("127.0.0.1", 8080), server) == "172.17.0.1"


def test_from_the_host_s_own_addresses(host: Namespace, outside: Namespace, server: socket.socket) -> None:
    assert exchange(host.connect(HOST_ADDRESS, 8080), server) == HOST_ADDRESS
    assert exchange(host.connect("172.17.0.1", 8080), server) == "172.17.0.1"


def test_from_outside_with_the_client_s_address_visible(outside: Namespace, server: socket.socket) -> None:
    assert exchange(outside.connect(HOST_ADDRESS, 8080), server) == OUTSIDE_ADDRESS


async def test_from_another_container(networks: Networks, outside: Namespace, server: socket.socket) -> None:
    other = inside((await networks.connect("b" * 64, "other")).netns_fd)
    for address in (HOST_ADDRESS, "172.17.0.1"):
        assert exchange(other.connect(address, 8080), server) == "172.17.0.1"


def test_from_the_container_itself(web: Sandbox, outside: Namespace, server: socket.socket) -> None:
    assert exchange(inside(web.netns_fd).connect(HOST_ADDRESS, 8080), server) == "172.17.0.1"


def test_not_by_routing_to_the_container(web: Sandbox, outside: Namespace, server: socket.socket) -> None:
    assert not outside.can_connect(web.endpoint.ip, 80)
    assert not outside.can_connect(web.endpoint.ip, 8080)


async def test_one_address_only(networks: Networks, host: Namespace, outside: Namespace) -> None:
    binding = PortBinding(80, host_ip=HOST_ADDRESS, host_port=8080)
    sandbox = await networks.connect(WEB, "web", ports=[binding])
    with inside(sandbox.netns_fd).listen(80) as server:
        assert exchange(outside.connect(HOST_ADDRESS, 8080), server) == OUTSIDE_ADDRESS
        assert not host.can_connect("127.0.0.1", 8080)


async def test_loopback_only_is_out_of_reach_from_outside_and_from_containers(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    sandbox = await networks.connect(WEB, "web", ports=[PortBinding(80, host_ip="127.0.0.1", host_port=8080)])
    other = inside((await networks.connect("b" * 64, "other")).netns_fd)
    with inside(sandbox.netns_fd).listen(80) as server:
        assert exchange(host.connect("127.0.0.1", 8080), server) == "172.17.0.1"
        assert not outside.can_connect(HOST_ADDRESS, 8080)
        assert not other.can_connect(HOST_ADDRESS, 8080)
        outside.send_loopback_out("uplink", HOST_ADDRESS)
        assert not outside.can_connect("127.0.0.1", 8080)


async def test_udp(networks: Networks, host: Namespace, outside: Namespace) -> None:
    sandbox = await networks.connect(WEB, "dns", ports=[PortBinding(53, "udp", host_port=5353)])
    with inside(sandbox.netns_fd).socket(socket.SOCK_DGRAM) as server:
        server.bind(("", 53))
        for namespace, address in ((host, "127.0.0.1"), (host, HOST_ADDRESS), (outside, HOST_ADDRESS)):
            with namespace.socket(socket.SOCK_DGRAM) as client:
                client.sendto(b"question", (address, 5353))
                question, sender = server.recvfrom(64)
                server.sendto(b"answer to " + question, sender)
                answer, answerer = client.recvfrom(64)
                assert (answer, answerer) == (b"answer to question", (address, 5353))


async def test_a_udp_client_that_goes_on_sending_finds_the_port_s_next_owner(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    """The kernel remembers where a flow went, and to whom, as long as somebody sends."""
    with outside.socket(socket.SOCK_DGRAM) as client:
        client.connect((HOST_ADDRESS, 5353))
        client.send(b"too early")  # a flow to the host itself
        for number, name in enumerate(("first", "second")):
            box = await networks.connect(name, name, ports=[PortBinding(53, "udp", host_port=5353)])
            with inside(box.netns_fd).socket(socket.SOCK_DGRAM) as server:
                server.bind(("", 53))
                with contextlib.suppress(ConnectionRefusedError):
                    client.send(b"old error")  # an ICMP answer from before may be waiting
                client.send(b"ping%d" % number)
                while server.recv(64) != b"ping%d" % number:
                    pass
            await networks.disconnect(name)


async def test_a_free_port_of_the_ephemeral_range_is_found(networks: Networks, host: Namespace) -> None:
    with host.listen(32769):
        sandbox = await networks.connect(WEB, "web", ports=[PortBinding(80), PortBinding(443), PortBinding(53, "udp")])
    assert sandbox.endpoint.ports == (
        BoundPort(80, "tcp", "0.0.0.0", 32768),
        BoundPort(443, "tcp", "0.0.0.0", 32770),
        BoundPort(53, "udp", "0.0.0.0", 32771),
    )
    with inside(sandbox.netns_fd).listen(443) as server:
        exchange(host.connect("127.0.0.1", 32770), server)


async def test_the_first_free_port_of_a_range_is_taken(networks: Networks, host: Namespace) -> None:
    with host.listen(8000):
        first = await networks.connect(WEB, "one", ports=[PortBinding(80, host_port=8000, host_port_end=8002)])
        second = await networks.connect("b" * 64, "two", ports=[PortBinding(80, host_port=8000, host_port_end=8002)])
        assert [sandbox.endpoint.ports[0].host_port for sandbox in (first, second)] == [8001, 8002]
        with pytest.raises(HostLimit, match=r"Bind for 0\.0\.0\.0:8002 failed: port is already allocated"):
            await networks.connect("c" * 64, "three", ports=[PortBinding(80, host_port=8000, host_port_end=8002)])


async def test_a_port_of_another_container_is_docker_s_error(networks: Networks, web: Sandbox) -> None:
    with pytest.raises(HostLimit) as caught:
        await networks.connect("b" * 64, "second", ports=[PortBinding(80, host_ip="127.0.0.1", host_port=8080)])
    assert caught.value.status == 500
    assert re.fullmatch(
        r"driver failed programming external connectivity on endpoint second \([0-9a-f]{64}\): "
        r"Bind for 127.0.0.1:8080 failed: port is already allocated",
        caught.value.message,
    )


async def test_a_port_of_another_program_is_docker_s_error(networks: Networks, host: Namespace) -> None:
    with host.listen(8080), pytest.raises(HostLimit, match=r"failed to bind host port for 0\.0\.0\.0:8080:.*in use"):
        await networks.connect(WEB, "web", ports=[PortBinding(80, host_port=8080)])


async def test_a_conflict_leaves_nothing_half_done(networks: Networks, host: Namespace, web: Sandbox) -> None:
    bindings = [PortBinding(81, host_port=8081), PortBinding(80, host_port=8080)]
    with pytest.raises(HostLimit):
        await networks.connect("b" * 64, "second", ports=bindings)
    assert networks.sandbox("b" * 64) is None
    assert [endpoint.container for endpoint in networks.inspect("bridge").endpoints] == [WEB]
    with host.listen(8081) as server:
        exchange(host.connect("127.0.0.1", 8081), server)


async def test_a_published_port_is_held_against_other_programs(networks: Networks, host: Namespace) -> None:
    await networks.connect(WEB, "web", ports=[PortBinding(80, host_port=8080), PortBinding(53, "udp", host_port=5353)])
    with pytest.raises(OSError, match="in use"):
        host.listen(8080)
    with host.socket(socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 5353))


async def test_a_port_is_free_as_soon_as_its_container_is_gone(networks: Networks, host: Namespace) -> None:
    for number in range(5):
        sandbox = await networks.connect(f"{number:064}", "web", ports=[PortBinding(80, host_port=8080)])
        with inside(sandbox.netns_fd).listen(80) as server:
            exchange(host.connect("127.0.0.1", 8080), server)
        await networks.disconnect(f"{number:064}")
    await networks.teardown()
    with host.listen(8080) as server:
        exchange(host.connect("127.0.0.1", 8080), server)


async def test_rules_flushed_by_others_come_back_with_the_next_port(
    networks: Networks, host: Namespace, server: socket.socket
) -> None:
    nftables = Nftables()
    nftables.run([{"flush": {"ruleset": None}}])
    assert tables(host) == []
    await networks.connect("b" * 64, "other", ports=[PortBinding(80, host_port=9090)])
    exchange(host.connect("127.0.0.1", 8080), server)
    nftables.close()


async def test_others_tables_are_left_alone(networks: Networks, host: Namespace) -> None:
    nftables = Nftables()
    nftables.run([{"add": {"table": {"family": "inet", "name": "mine"}}}])
    await networks.connect(WEB, "web", ports=[PortBinding(80)])
    await networks.disconnect(WEB)
    await networks.teardown()
    assert tables(host) == ["mine"]
    nftables.run([{"delete": {"table": {"family": "inet", "name": "mine"}}}])
    nftables.close()


async def test_ports_mean_nothing_without_a_bridge(networks: Networks, host: Namespace) -> None:
    for network in ("host", "none"):
        sandbox = await networks.connect(network * 16, network, network, ports=[PortBinding(80, host_port=8080)])
        assert sandbox.endpoint.ports == ()
    with host.listen(8080):
        pass


@pytest.mark.parametrize(
    ("binding", "error", "message"),
    [
        (PortBinding(80, "icmp"), InvalidRequest, "invalid protocol: icmp"),
        (PortBinding(0), InvalidRequest, "invalid port: 0/tcp"),
        (PortBinding(80, host_port=65536), InvalidRequest, "invalid port"),
        (PortBinding(80, host_ip="localhost"), InvalidRequest, "invalid IP address in port binding: 'localhost'"),
        (PortBinding(80, host_ip="::1"), NotSupported, "IPv6"),
        (PortBinding(80, host_ip="203.0.113.1", host_port=80), HostLimit, "cannot assign requested address"),
    ],
)
async def test_what_cannot_be_published_is_refused(
    networks: Networks, binding: PortBinding, error: type[EngineError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await networks.connect(WEB, "web", ports=[binding])
    assert networks.sandbox(WEB) is None


def test_a_closed_server_s_time_wait_does_not_keep_a_port(host: Namespace) -> None:
    with host.listen(8080) as server:
        client = host.connect("127.0.0.1", 8080)
        peer, _ = server.accept()
        peer.close()  # first to close: the TIME_WAIT is on the server's port
        client.close()
    ports = Ports()
    taken = ports.reserve([PortBinding(80, host_port=8080)], "172.17.0.2")
    ports.release(taken)
