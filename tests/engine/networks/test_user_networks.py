"""Networks of one's own on the real kernel: who reaches whom, several networks a container, and the way out."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dosirak.engine.errors import Forbidden, HostLimit, InvalidRequest, NotFound
from dosirak.engine.networks import Join, Networks, PortBinding
from dosirak.engine.networks.model import CreateRequest, Ipam, Network, Pool
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events
from support.wires import Namespace, exchange, inside, tables, until

from .conftest import HOST_ADDRESS, OUTSIDE_ADDRESS

PREFIX = "com.docker.network."


async def create(networks: Networks, name: str, subnet: str = "", **fields: object) -> Network:
    if subnet:
        fields["ipam"] = Ipam(config=[Pool(subnet)])
    return await networks.create(CreateRequest(name=name, **fields))  # type: ignore[arg-type]


@contextmanager
def process(namespace: Namespace) -> Iterator[int]:
    """A container's process."""
    made = subprocess.Popen(["sleep", "60"], preexec_fn=namespace.enter)
    try:
        yield made.pid
    finally:
        made.kill()
        made.wait()


async def test_networks_are_isolated_from_each_other(networks: Networks, host: Namespace) -> None:
    await create(networks, "front")
    await create(networks, "back")
    a = await networks.connect("a", "a", "front")
    b = await networks.connect("b", "b", "back")
    c = await networks.connect("c", "c")
    neighbour = await networks.connect("d", "d", "front")
    one = inside(a.netns_fd)
    assert one.ping(neighbour.endpoint.ip)
    for other in (b, c):
        assert not one.ping(other.endpoint.ip) and not inside(other.netns_fd).ping(a.endpoint.ip)
        with inside(other.netns_fd).listen(80):
            assert not one.can_connect(other.endpoint.ip, 80)


async def test_a_network_has_its_own_bridge_subnet_and_gateway(networks: Networks, host: Namespace) -> None:
    pool = Pool("10.5.0.0/24", "10.5.0.128/25", "10.5.0.254", {"printer": "10.5.0.128"})
    network = await networks.create(CreateRequest(name="back", ipam=Ipam(config=[pool])))
    assert network.bridge == f"br-{network.id[:12]}" and network.bridge not in host.links()
    sandbox = await networks.connect("a", "a", "back")
    assert host.addresses(network.bridge) == ["10.5.0.254/24"]
    assert sandbox.endpoint.ip == "10.5.0.129" and inside(sandbox.netns_fd).default_route() == "10.5.0.254"


async def test_options_shape_the_bridge(networks: Networks, host: Namespace) -> None:
    await create(networks, "back", options={f"{PREFIX}bridge.name": "mine0", f"{PREFIX}driver.mtu": "1400"})
    sandbox = await networks.connect("a", "a", "back")
    assert host.links()["mine0"]["mtu"] == 1400 and inside(sandbox.netns_fd).links()["eth0"]["mtu"] == 1400


@pytest.mark.parametrize("asked", ["0", "1"], ids=["bridging alone", "bridging asks the rules"])
async def test_neighbours_can_be_kept_apart(
    networks: Networks, host: Namespace, outside: Namespace, asked: str
) -> None:
    host.set_sysctl("bridge/bridge-nf-call-iptables", asked)
    await create(networks, "back", options={f"{PREFIX}bridge.enable_icc": "false"})
    a = await networks.connect("a", "a", "back")
    b = await networks.join("b", "b", [Join(network="back")], ports=[PortBinding(80, host_port=8080)])
    one = inside(a.netns_fd)
    assert one.ping(a.endpoint.gateway) and one.ping(OUTSIDE_ADDRESS)
    with inside(b.netns_fd).listen(80) as server:
        assert not one.can_connect(b.endpoint.ip, 80) and not one.ping(b.endpoint.ip)
        exchange(one.connect(a.endpoint.gateway, 8080), server)  # what is published is for everyone


async def test_an_internal_network_leads_nowhere(networks: Networks, host: Namespace, outside: Namespace) -> None:
    await create(networks, "front")
    network = await create(networks, "safe", internal=True)
    ports = [PortBinding(80, host_port=8080)]
    a = await networks.join("a", "a", [Join(network="safe")], ports=ports)
    b = await networks.connect("b", "b", "safe")
    other = await networks.join("c", "c", [Join(network="front")], ports=[PortBinding(80, host_port=9090)])
    one = inside(a.netns_fd)
    assert one.default_route() is None and a.ports == () and a.endpoint.gateway == ""
    assert one.ping(b.endpoint.ip) and one.ping(network.gateway)
    # Not even with a route of its own making.
    one.route("default", network.gateway)
    assert not one.ping(OUTSIDE_ADDRESS)
    with inside(other.netns_fd).listen(80), one.listen(80), outside.listen(80):
        assert not one.can_connect(other.endpoint.ip, 80) and not one.can_connect(network.gateway, 9090)
        assert not one.can_connect(OUTSIDE_ADDRESS, 80)
        outside.route(network.subnet.replace("/16", "/17"), HOST_ADDRESS)
        assert not outside.can_connect(a.endpoint.ip, 80)
        assert not host.can_connect("127.0.0.1", 8080)


async def test_without_masquerade_containers_go_out_by_their_own_address(
    networks: Networks, outside: Namespace
) -> None:
    await create(networks, "back", options={f"{PREFIX}bridge.enable_ip_masquerade": "false"})
    a = await networks.connect("a", "a", "back")
    with outside.listen(80) as server:
        assert exchange(inside(a.netns_fd).connect(OUTSIDE_ADDRESS, 80), server) == a.endpoint.ip


async def test_ports_are_published_where_the_network_says(networks: Networks, host: Namespace) -> None:
    await create(networks, "back", options={f"{PREFIX}bridge.host_binding_ipv4": "127.0.0.1"})
    a = await networks.join("a", "a", [Join(network="back")], ports=[PortBinding(80, host_port=8080)])
    assert a.ports[0].host_ip == "127.0.0.1"


async def test_a_container_can_be_on_several_networks(networks: Networks, host: Namespace) -> None:
    await create(networks, "front")
    await create(networks, "back", "10.5.0.0/24")
    joins = [Join(network="front"), Join(network="back", ip="10.5.0.9", mac="02:00:00:00:00:09")]
    box = await networks.join("a", "a", joins, ports=[PortBinding(80, host_port=8080)])
    one = inside(box.netns_fd)
    assert set(one.links()) == {"lo", "eth0", "eth1"}
    assert one.addresses("eth1") == ["10.5.0.9/24"] and one.links()["eth1"]["mac"] == "02:00:00:00:00:09"
    front, back = box.endpoints
    assert (front.inner, back.inner) == ("eth0", "eth1")
    for name in ("front", "back"):
        other = await networks.connect(name, name, name)
        assert one.ping(other.endpoint.ip)
    # The way out is the first by name, and with it the published ports.
    assert one.default_route() == back.gateway == "10.5.0.1"
    assert back.ports[0].host_port == 8080 and front.ports == ()
    with one.listen(80) as server:
        exchange(host.connect("127.0.0.1", 8080), server)


async def test_the_highest_priority_is_the_way_out(networks: Networks) -> None:
    await create(networks, "a")
    await create(networks, "b")
    await create(networks, "c", internal=True)
    joins = [Join(network="a"), Join(network="c", priority=9), Join(network="b", priority=1)]
    box = await networks.join("x", "x", joins)
    assert inside(box.netns_fd).default_route() == networks.inspect("b").gateway


async def test_networks_come_and_go_while_a_container_runs(networks: Networks, host: Namespace) -> None:
    await create(networks, "back")
    box = await networks.join("a", "a", [Join(network="bridge")], ports=[PortBinding(80)])
    one, port = inside(box.netns_fd), box.ports[0].host_port
    with process(one) as pid, one.listen(80) as server:
        box = await networks.add("a", "a", Join(network="back"), hostname="a", pid=pid)
        assert set(one.links()) == {"lo", "eth0", "eth1"}
        with pytest.raises(Forbidden, match="endpoint with name a already exists in network back"):
            await networks.add("a", "a", Join(network="back"), hostname="a", pid=pid)
        assert [endpoint.name for endpoint in networks.inspect("back").endpoints] == ["a"]
        await networks.leave("a", "bridge")
        assert set(one.links()) == {"lo", "eth1"}
        assert one.default_route() == networks.inspect("back").gateway
        moved = networks.sandbox("a")
        assert moved and moved.ports[0].host_port == port, "any free port stays the one that it became"
        exchange(host.connect("127.0.0.1", port), server)
        await networks.leave("a", "back")
        assert set(one.links()) == {"lo"} and one.default_route() is None
        alone = networks.sandbox("a")
        assert alone and alone.endpoints == ()
        with pytest.raises(Forbidden, match="not connected to network back"):
            await networks.leave("a", "back")
        await networks.add("a", "a", Join(network="back"), hostname="a", pid=pid)
        assert set(one.links()) == {"lo", "eth0"} and one.ping(networks.inspect("back").gateway)
        exchange(host.connect("127.0.0.1", port), server)
        await networks.disconnect("a")


async def test_a_network_that_can_t_be_joined_leaves_the_container_as_it_was(
    networks: Networks, host: Namespace
) -> None:
    await create(networks, "back", "10.5.0.0/24")
    await networks.join("b", "b", [Join(network="back", ip="10.5.0.9")])
    taken = Join(network="back", ip="10.5.0.9")
    with pytest.raises(Forbidden, match="Address already in use"):
        await networks.join("a", "a", [Join(network="bridge"), taken])
    assert networks.sandbox("a") is None
    with pytest.raises(NotFound, match="network nowhere not found"):
        await networks.join("a", "a", [Join(network="bridge"), Join(network="nowhere")])
    with pytest.raises(InvalidRequest, match="does not belong to any of this network's subnets"):
        await networks.join("a", "a", [Join(network="back", ip="10.6.0.9")])
    box = await networks.join("a", "a", [Join(network="bridge")])
    with process(inside(box.netns_fd)) as pid:
        with pytest.raises(Forbidden, match="Address already in use"):
            await networks.add("a", "a", taken, hostname="a", pid=pid)
        assert set(inside(box.netns_fd).links()) == {"lo", "eth0"}
        assert networks.sandbox("a") == box
        await networks.disconnect("a")


async def test_a_network_in_use_stays(networks: Networks, host: Namespace) -> None:
    network = await create(networks, "back")
    box = await networks.connect("a", "a", "back")
    with pytest.raises(Forbidden) as caught:
        await networks.remove("back")
    assert str(caught.value) == (
        f'error while removing network: network back has active endpoints (name:"a" id:"{box.endpoint.id[:12]}")'
    )
    joining = asyncio.create_task(networks.join("b", "b", [Join(network="back", mac="02:00:00:00:00:09")]))
    await networks.disconnect("a")
    await asyncio.sleep(0)
    with pytest.raises(Forbidden, match="has active endpoints"):
        await networks.remove("back")
    await joining
    await networks.disconnect("b")
    await networks.remove("back")
    with pytest.raises(NotFound):
        networks.inspect("back")
    for name in ("bridge", "host", "none"):
        with pytest.raises(Forbidden, match=f"{name} is a pre-defined network and cannot be removed"):
            await networks.remove(name)
    until_gone = asyncio.create_task(networks.teardown())
    await until_gone
    assert network.bridge not in host.links() and tables(host) == []


async def test_a_removed_network_s_subnet_can_be_asked_for_at_once(networks: Networks) -> None:
    for _ in range(3):
        await create(networks, "back", "10.5.0.0/24")
        await networks.connect("a", "a", "back")
        await networks.disconnect("a")
        await networks.remove("back")


async def test_networks_never_share_a_subnet_nor_take_the_host_s(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    host.address("uplink", "172.19.5.1/24")
    made = await asyncio.gather(*(create(networks, f"n{number}") for number in range(5)))
    assert sorted(network.subnet for network in made) == [f"172.{second}.0.0/16" for second in (18, 20, 21, 22, 23)]
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        await create(networks, "explicit", "172.20.1.0/24")
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        await create(networks, "explicit", "172.19.0.0/16")


async def test_a_subnet_that_was_asked_for_is_never_exchanged(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    await create(networks, "fixed", "10.5.0.0/16")
    moving = await create(networks, "moving")
    host.address("uplink", "10.5.7.1/24")
    host.address("uplink", moving.gateway + "/24")
    with pytest.raises(HostLimit, match=r"its subnet 10\.5\.0\.0/16 is used by another network of this host"):
        await networks.connect("a", "a", "fixed")
    box = await networks.connect("b", "b", "moving")
    assert networks.inspect("moving").subnet != moving.subnet
    assert box.endpoint.gateway == networks.inspect("moving").gateway


async def test_events_tell_of_networks(networks: Networks) -> None:
    reader = networks._events.subscribe()
    made = await create(networks, "back")
    await networks.remove("back")
    async with reader:
        told = [await anext(reader), await anext(reader)]
    assert [(event.type, event.action, event.id) for event in told] == [
        ("network", "create", made.id),
        ("network", "destroy", made.id),
    ]
    assert told[0].attributes == {"name": "back", "type": "bridge"}


async def test_unused_networks_are_pruned(networks: Networks) -> None:
    await create(networks, "old", labels={"keep": "no"})
    await create(networks, "kept", labels={"keep": "yes"})
    await create(networks, "used")
    await networks.connect("a", "a", "used")
    assert await networks.prune({"label!": ["keep=yes"]}) == ["old"]
    assert await networks.prune({"until": ["1h"]}) == []
    assert await networks.prune({"label": ["keep"]}) == ["kept"]
    assert [network.name for network in networks.list()] == ["bridge", "host", "none", "used"]


async def test_all_networks_of_a_running_container_are_taken_over(host: Namespace, settings: Settings) -> None:
    def engine() -> Networks:
        return Networks(Database(settings.data / "state.db"), settings, Events())

    first = engine()
    await first.start()
    await first.readopt({})
    await create(first, "front")
    await create(first, "back")
    box = await first.join("a", "a", [Join(network="front"), Join(network="back")], ports=[PortBinding(80)])
    with process(inside(box.netns_fd)) as pid:
        fd = os.dup(box.netns_fd or 0)
        await first.close()
        second = engine()
        await second.start()
        await second.readopt({"a": pid})
        adopted = second.sandbox("a")
        assert adopted and adopted.endpoints == box.endpoints
        one = Namespace(fd)
        assert one.ping(box.endpoints[0].gateway) and one.ping(box.endpoints[1].gateway)
        with one.listen(80) as server:
            exchange(host.connect("127.0.0.1", box.ports[0].host_port), server)
        await second.leave("a", "back")
        assert set(one.links()) == {"lo", "eth0"} and one.default_route() == box.endpoints[0].gateway
        with one.listen(80) as server:
            exchange(host.connect("127.0.0.1", box.ports[0].host_port), server)
        await second.disconnect("a")
        one.close()
    for name in ("front", "back"):
        await second.remove(name)
    await second.close()
    until(lambda: set(host.links()) == {"lo"})
