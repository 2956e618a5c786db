"""The default bridge on the real kernel: what a container sees, whom it reaches, who reaches it."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from dosirak.engine.errors import Forbidden, InvalidRequest, NotFound
from dosirak.engine.networks import Networks
from dosirak.engine.networks.drivers import bridge as bridge_driver
from dosirak.engine.networks.nftables import Nftables
from dosirak.engine.networks.pool import SIZE
from dosirak.engine.settings import Settings
from dosirak.engine.state.database import Database
from support.wires import Namespace, exchange, inside, tables, until

from .conftest import HOST_ADDRESS, OUTSIDE_ADDRESS


async def test_a_container_sees_its_own_interface_and_nothing_else(networks: Networks) -> None:
    sandbox = await networks.connect("a" * 64, "web", hostname="web")
    box, endpoint = inside(sandbox.netns_fd), sandbox.endpoint
    assert endpoint.ip == "172.17.0.2" and endpoint.prefix == 16 and endpoint.gateway == "172.17.0.1"
    links = box.links()
    assert set(links) == {"lo", "eth0"}
    assert links["lo"]["up"] and links["eth0"]["up"]
    assert links["eth0"]["mac"] == endpoint.mac == "02:42:ac:11:00:02"
    assert links["eth0"]["mtu"] == 1500
    assert box.addresses("eth0") == ["172.17.0.2/16"]
    assert box.addresses("lo") == ["127.0.0.1/8", "::1/128"]
    assert box.default_route() == "172.17.0.1"
    assert box.sysctl("ipv4/ping_group_range").split() == ["0", "2147483647"]
    assert box.sysctl("ipv4/ip_unprivileged_port_start") == "0"


async def test_the_host_s_side_is_a_bridge_that_keeps_its_address(networks: Networks, host: Namespace) -> None:
    sandbox = await networks.connect("a" * 64, "web")
    network = networks.inspect("bridge")
    links = host.links()
    bridge = links[network.bridge]
    assert bridge["kind"] == "bridge" and bridge["mac"] == "02:42:ac:11:00:01"
    port = links[sandbox.endpoint.interface]
    assert port["kind"] == "veth" and port["up"] and port["master"] == bridge["index"]
    assert host.addresses(network.bridge) == ["172.17.0.1/16"]
    assert host.addresses(sandbox.endpoint.interface) == []
    await networks.connect("b" * 64, "other")
    assert host.links()[network.bridge]["mac"] == bridge["mac"]


@pytest.mark.parametrize("asked", ["0", "1"], ids=["bridging alone", "bridging asks the rules"])
async def test_containers_reach_each_other_and_the_gateway(networks: Networks, host: Namespace, asked: str) -> None:
    host.set_sysctl("bridge/bridge-nf-call-iptables", asked)
    one = await networks.connect("a" * 64, "one")
    other = await networks.connect("b" * 64, "other")
    assert one.endpoint.ip != other.endpoint.ip
    a, b = inside(one.netns_fd), inside(other.netns_fd)
    assert a.ping("172.17.0.1") and a.ping(other.endpoint.ip) and b.ping(one.endpoint.ip)
    with b.listen(80) as server:
        assert exchange(a.connect(other.endpoint.ip, 80), server) == one.endpoint.ip


async def test_a_container_reaches_the_outside_in_the_host_s_name(networks: Networks, outside: Namespace) -> None:
    box = inside((await networks.connect("a" * 64, "web")).netns_fd)
    with outside.listen(80) as server:
        assert exchange(box.connect(OUTSIDE_ADDRESS, 80), server) == HOST_ADDRESS
    assert box.ping(OUTSIDE_ADDRESS)


async def test_an_unpublished_port_is_out_of_reach_from_outside(networks: Networks, outside: Namespace) -> None:
    sandbox = await networks.connect("a" * 64, "web")
    with inside(sandbox.netns_fd).listen(80):
        assert not outside.can_connect(sandbox.endpoint.ip, 80)
        assert not outside.can_connect(HOST_ADDRESS, 80)
        flush(networks, "forward")  # the control
        assert outside.can_connect(sandbox.endpoint.ip, 80)
        # The host itself may: Docker's bridge is open to its own host.
        with socket.create_connection((sandbox.endpoint.ip, 80), 1):
            pass


async def test_containers_cannot_reach_the_host_s_loopback(networks: Networks, host: Namespace) -> None:
    box = inside((await networks.connect("a" * 64, "web")).netns_fd)
    box.send_loopback_out("eth0", "172.17.0.1")
    with host.listen(8080, "127.0.0.1"):
        assert not box.can_connect("127.0.0.1", 8080)
        # The control: it is the rule that keeps them out.
        flush(networks, "guard")
        assert box.can_connect("127.0.0.1", 8080)


def flush(networks: Networks, chain: str) -> None:
    """Empties one of the engine's chains behind its back."""
    nftables = Nftables()
    nftables.run([{"flush": {"chain": {"family": "ip", "table": networks._worker._table, "name": chain}}}])
    nftables.close()


async def test_forged_sources_do_not_leave(networks: Networks, host: Namespace, outside: Namespace) -> None:
    box = inside((await networks.connect("a" * 64, "web")).netns_fd)
    with outside.socket(socket.SOCK_DGRAM) as server, box.socket(socket.SOCK_RAW, socket.IPPROTO_UDP) as sender:
        server.bind(("", 9))
        server.settimeout(0.3)
        assert box.ping("172.17.0.1")  # or it would be the question for the gateway's MAC that is dropped
        box.address("lo", "203.0.113.7/32")
        sender.bind(("203.0.113.7", 0))
        sender.sendto(bytes([0, 9, 0, 9, 0, 12, 0, 0]) + b"evil", (OUTSIDE_ADDRESS, 0))
        with pytest.raises(TimeoutError):
            server.recv(64)
        # The control: where the reverse path isn't looked at, it arrives.
        host.set_sysctl(f"ipv4/conf/{networks.inspect('bridge').bridge}/rp_filter", "0")
        sender.sendto(bytes([0, 9, 0, 9, 0, 12, 0, 0]) + b"evil", (OUTSIDE_ADDRESS, 0))
        assert server.recv(64) == b"evil"


async def test_addresses_rotate_and_are_recorded(networks: Networks, settings: Settings) -> None:
    first = (await networks.connect("a" * 64, "one")).endpoint
    await networks.disconnect("a" * 64)
    second = (await networks.connect("b" * 64, "two")).endpoint
    assert (first.ip, second.ip) == ("172.17.0.2", "172.17.0.3")
    look = Database(settings.data / "state.db")
    network = networks.inspect("bridge").id
    assert look.execute("SELECT * FROM leases").fetchall() == [(network, second.ip, "b" * 64)]
    look.close()


async def test_a_disconnected_container_s_address_is_silent_at_once(networks: Networks) -> None:
    gone = await networks.connect("a" * 64, "gone")
    box = inside((await networks.connect("b" * 64, "stays")).netns_fd)
    assert box.ping(gone.endpoint.ip)
    # Its process may still live for a moment, and so does its namespace.
    with inside(gone.netns_fd).socket():
        await networks.disconnect("a" * 64)
        until(lambda: not box.ping(gone.endpoint.ip))


async def test_a_veth_whose_namespace_someone_holds_goes_too(networks: Networks, host: Namespace) -> None:
    gone = await networks.connect("a" * 64, "gone")
    with inside(gone.netns_fd).socket():
        await networks.disconnect("a" * 64)
        await asyncio.sleep(bridge_driver._LINGER + 0.3)
        assert gone.endpoint.interface not in host.links()


async def test_a_mac_address_can_be_chosen(networks: Networks) -> None:
    sandbox = await networks.connect("a" * 64, "web", mac="92:D0:C6:0A:29:33")
    assert sandbox.endpoint.mac == "92:d0:c6:0a:29:33"
    box = inside(sandbox.netns_fd)
    assert box.links()["eth0"]["mac"] == "92:d0:c6:0a:29:33"
    assert box.ping("172.17.0.1")


async def test_an_address_can_be_chosen_only_on_networks_of_one_s_own(networks: Networks) -> None:
    with pytest.raises(InvalidRequest, match="user specified IP address is supported on user defined networks only"):
        await networks.connect("a" * 64, "web", ip="172.17.0.9")


async def test_a_container_is_connected_once(networks: Networks) -> None:
    await networks.connect("a" * 64, "web")
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network bridge"):
        await networks.connect("a" * 64, "web")


async def test_an_unknown_network_is_docker_s_error(networks: Networks) -> None:
    with pytest.raises(NotFound, match="network backend not found"):
        await networks.connect("a" * 64, "web", "backend")


async def test_many_at_once_each_get_an_address_of_their_own(networks: Networks) -> None:
    made = await asyncio.gather(*(networks.connect(f"{number:064}", f"c{number}") for number in range(20)))
    assert len({sandbox.endpoint.ip for sandbox in made}) == 20
    assert all(inside(sandbox.netns_fd).ping("172.17.0.1") for sandbox in made)


async def test_a_cancelled_connect_leaves_nothing(networks: Networks, host: Namespace) -> None:
    for delay in (0, 0.0005, 0.001, 0.002, 0.004):
        task = asyncio.create_task(networks.connect("a" * 64, "web", mac="92:d0:c6:0a:29:33"))
        await asyncio.sleep(delay)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert networks.sandbox("a" * 64) is None
        else:
            await networks.disconnect("a" * 64)
    await networks.teardown()
    assert [name for name in host.links() if name != "lo"] == []


async def test_nothing_is_made_before_the_first_container(networks: Networks, host: Namespace) -> None:
    assert set(host.links()) == {"lo"} and tables(host) == []
    assert networks.inspect("bridge").subnet == "172.17.0.0/16"


async def test_all_goes_some_time_after_the_last_container(
    networks: Networks, host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_driver, "IDLE", 0.2)
    await networks.connect("a" * 64, "web")
    await networks.disconnect("a" * 64)
    await asyncio.sleep(0.05)
    assert networks.inspect("bridge").bridge in host.links()
    await asyncio.sleep(0.5)
    assert set(host.links()) == {"lo"} and tables(host) == [] and host.sysctl("ipv4/ip_forward") == "0"
    box = inside((await networks.connect("b" * 64, "again")).netns_fd)
    assert box.ping("172.17.0.1")


async def test_a_bridge_taken_away_by_others_comes_back(networks: Networks, host: Namespace) -> None:
    first = await networks.connect("a" * 64, "web")
    await asyncio.sleep(0.1)
    host.delete_link(networks.inspect("bridge").bridge)
    made = [await networks.connect(f"{number:064}", f"c{number}") for number in range(SIZE + 1)]
    assert all(inside(sandbox.netns_fd).ping("172.17.0.1") for sandbox in (first, *made))


async def test_a_connect_finds_a_namespace_ready(networks: Networks) -> None:
    await networks.connect("0" * 64, "first")
    pool = networks._registry.find("bridge")._pool  # type: ignore[attr-defined]
    while len(pool._ready) < SIZE:
        await asyncio.sleep(0.01)
    times = []
    for number in range(1, SIZE + 1):
        began = time.perf_counter()
        await networks.connect(f"{number:064}", f"c{number}")
        times.append(time.perf_counter() - began)
    assert sorted(times)[1] < 0.002, times


async def test_a_container_renamed_is_shown_by_its_new_name(networks: Networks) -> None:
    await networks.connect("a" * 64, "web")
    networks.rename("a" * 64, "shop")
    networks.rename("b" * 64, "nobody")
    assert [endpoint.name for endpoint in networks.inspect("bridge").endpoints] == ["shop"]
