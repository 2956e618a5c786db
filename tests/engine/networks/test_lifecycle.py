"""Services that start, are killed, come back and end; engines side by side; what is in the kernel at each point."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks import Networks, PortBinding, links, nftables
from dosirak.engine.networks.drivers import bridge as bridge_driver
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events
from support.wires import Namespace, exchange, inside, tables, until

# A service that starts two containers (a process each, in its namespace) and waits to be killed.
SERVICE = textwrap.dedent("""
    import asyncio, json, subprocess, sys
    from pathlib import Path
    from dosirak.engine.networks import Networks, PortBinding
    from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Database, Events

    async def main(data):
        networks = Networks(Database(data / "state.db"), Settings(data=data, run=data), Events())
        await networks.start()
        await networks.readopt({})
        pids = {}
        for name, port in (("web", 8080), ("gone", 9090)):
            box = await networks.connect(name, name, ports=[PortBinding(80, host_port=port)])
            await networks.connect(f"{name}-none", name, "none")
            await networks.connect(f"{name}-host", name, "host")
            enter = lambda: setns(box.netns_fd, CLONE_NEWNET)
            pids[name] = subprocess.Popen(["sleep", "60"], preexec_fn=enter, stdout=subprocess.DEVNULL).pid
        print(json.dumps(pids), flush=True)
        await asyncio.sleep(60)

    asyncio.run(main(Path(sys.argv[1])))
""")


@pytest.fixture
def killed(host: Namespace, settings: Settings) -> Iterator[dict[str, int]]:
    """The processes of the containers of a service that was killed."""
    service = subprocess.Popen([sys.executable, "-c", SERVICE, str(settings.data)], stdout=subprocess.PIPE, text=True)
    assert service.stdout
    pids: dict[str, int] = json.loads(service.stdout.readline())
    service.kill()
    service.wait()
    service.stdout.close()
    yield pids
    for pid in pids.values():
        end(pid)


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def engine(data: Path, running: dict[str, int] | None = None) -> AsyncIterator[Networks]:
    db = Database(data / "state.db")
    networks = Networks(db, Settings(data=data, run=data), Events())
    await networks.start()
    await networks.readopt(running or {})
    try:
        yield networks
    finally:
        await networks.close()
        db.close()


async def test_running_containers_keep_their_network_when_the_service_is_killed(
    host: Namespace, outside: Namespace, settings: Settings, killed: dict[str, int]
) -> None:
    box = Namespace(os.open(f"/proc/{killed['web']}/ns/net", os.O_RDONLY))
    with box.listen(80) as server:
        exchange(host.connect("127.0.0.1", 8080), server)
        exchange(outside.connect("198.51.100.1", 8080), server)
        end(killed["gone"])
        async with engine(settings.data, {"web": killed["web"]}) as networks:
            adopted = networks.sandbox("web")
            assert adopted and networks.sandbox("gone") is None
            assert adopted.endpoint.ip == "172.17.0.2" and adopted.endpoint.ports[0].host_port == 8080
            assert os.path.sameopenfile(adopted.netns_fd or 0, box.fd)
            exchange(host.connect("127.0.0.1", 8080), server)
            with pytest.raises(HostLimit, match="port is already allocated"):
                await networks.connect("next", "next", ports=[PortBinding(80, host_port=8080)])
            other = await networks.connect("next", "next", ports=[PortBinding(80, host_port=9090)])
            assert other.endpoint.ip != adopted.endpoint.ip
            assert inside(other.netns_fd).ping(adopted.endpoint.ip)
            assert [one.name for one in networks.inspect("bridge").endpoints] == ["web", "next"]
            await networks.disconnect("next")
            await networks.disconnect("web")
            until(lambda: not host.can_connect("127.0.0.1", 8080))
        end(killed["web"])
    box.close()


async def test_only_the_links_of_running_containers_stay(
    host: Namespace, settings: Settings, killed: dict[str, int]
) -> None:
    """Also where something still holds the namespace of a container that counts as ended."""
    async with engine(settings.data, {"web": killed["web"]}) as networks:
        adopted = networks.sandbox("web")
        assert adopted
        until(lambda: [name for name in host.links() if name.startswith("veth")] == [adopted.endpoint.interface])
        await networks.disconnect("web")


async def test_a_service_that_finds_nothing_running_clears_up_after_its_predecessor(
    host: Namespace, settings: Settings, killed: dict[str, int]
) -> None:
    assert len(tables(host)) == 1 and host.sysctl("ipv4/ip_forward") == "1"
    for pid in killed.values():
        end(pid)
    async with engine(settings.data) as networks:
        until(lambda: set(host.links()) == {"lo"})
        assert tables(host) == [] and host.sysctl("ipv4/ip_forward") == "0"
        assert all(network.endpoints == () for network in networks.list())
        with host.listen(8080):
            pass


async def test_a_bridge_lost_together_with_the_service_comes_back_with_its_ports(
    host: Namespace, settings: Settings, killed: dict[str, int]
) -> None:
    host.delete_link(next(name for name, link in host.links().items() if link["kind"] == "bridge"))
    async with engine(settings.data, {"web": killed["web"]}) as networks:
        box = networks.sandbox("web")
        assert box and inside(box.netns_fd).ping("172.17.0.1")
        # The other container's process still holds its namespace, but it counts as ended.
        until(lambda: [name for name in host.links() if name.startswith("veth")] == [box.endpoint.interface])
        await networks.disconnect("web")
    # That forwarding was off before is noted on the bridge: whoever takes that away takes the note with it.
    host.set_sysctl("ipv4/ip_forward", "0")


async def test_what_a_killed_engine_left_is_cleared_away_by_the_next_one_of_any_root(
    host: Namespace, tmp_path: Path, killed: dict[str, int]
) -> None:
    """Not while one of its containers runs, and nothing of an engine that lives."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    bridges = {name: link["index"] for name, link in host.links().items() if link["kind"] == "bridge"}
    left = set(bridges)
    async with engine(tmp_path / "one") as one:
        await one.connect("a", "a")
        assert left < set(host.links()) and len(tables(host)) == 2
        await one.disconnect("a")
        for pid in killed.values():
            end(pid)
        until(lambda: not any(link["master"] in bridges.values() for link in host.links().values()))
        async with engine(tmp_path / "other") as other:
            await other.connect("b", "b")
            assert {name for name, link in host.links().items() if link["kind"] == "bridge"} == {
                one.inspect("bridge").bridge,
                other.inspect("bridge").bridge,
            }
            assert len(tables(host)) == 2
            assert other.inspect("bridge").subnet == "172.17.0.0/16", "the dead one's is free again"
            await other.disconnect("b")
    assert host.sysctl("ipv4/ip_forward") == "0"


async def test_all_networks_of_a_running_container_are_taken_over(
    host: Namespace, settings: Settings, killed: dict[str, int]
) -> None:
    running = {f"web-{network}": killed["web"] for network in ("none", "host")}
    async with engine(settings.data, running) as networks:
        none, own = networks.sandbox("web-none"), networks.sandbox("web-host")
        assert none and none.netns_fd is not None and none.endpoint.ip == ""
        assert own and own.netns_fd is None
        assert {network.name: len(network.endpoints) for network in networks.list()} == {
            "bridge": 0,
            "host": 1,
            "none": 1,
        }
        for container in running:
            await networks.disconnect(container)


async def test_containers_run_on_when_the_service_ends(host: Namespace, tmp_path: Path) -> None:
    async with engine(tmp_path) as networks:
        box = await networks.connect("web", "web", ports=[PortBinding(80, host_port=8080)])
        process = subprocess.Popen(["sleep", "60"], preexec_fn=inside(box.netns_fd).enter)
        server = inside(box.netns_fd).listen(80)
    veths = [name for name in host.links() if name.startswith("veth")]
    until(lambda: [name for name in host.links() if name.startswith("veth")] == [box.endpoint.interface], 2)
    assert box.endpoint.interface in veths
    exchange(host.connect("127.0.0.1", 8080), server)
    async with engine(tmp_path, {"web": process.pid}) as networks:
        exchange(host.connect("127.0.0.1", 8080), server)
        server.close()
        process.kill()
        process.wait()
        await networks.disconnect("web")


async def test_engines_side_by_side_are_strangers(host: Namespace, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with engine(tmp_path / "one") as one, engine(tmp_path / "other") as other:
        a = await one.connect("a", "a")
        b = await other.connect("b", "b", ports=[PortBinding(80, host_port=8080)])
        assert one.inspect("bridge").subnet == "172.17.0.0/16"
        assert other.inspect("bridge").subnet == "172.18.0.0/16" and b.endpoint.ip == "172.18.0.2"
        assert one.inspect("bridge").bridge != other.inspect("bridge").bridge
        assert len(tables(host)) == 2
        with inside(b.netns_fd).listen(80) as server:
            assert not inside(a.netns_fd).can_connect(b.endpoint.ip, 80)
            assert not inside(a.netns_fd).ping(b.endpoint.ip)
            # What the other publishes is for everyone.
            exchange(inside(a.netns_fd).connect("172.17.0.1", 8080), server)
            with pytest.raises(HostLimit, match="address already in use"):
                await one.connect("c", "c", ports=[PortBinding(80, host_port=8080)])
            await one.disconnect("a")
            await one.teardown()
            assert host.sysctl("ipv4/ip_forward") == "1", "the other engine still needs it"
            exchange(host.connect("127.0.0.1", 8080), server)
        await other.disconnect("b")


async def test_a_subnet_the_host_uses_is_left_out(host: Namespace, outside: Namespace, tmp_path: Path) -> None:
    host.route("172.17.0.0/16", "198.51.100.2")
    host.address("uplink", "172.18.5.1/24")
    async with engine(tmp_path) as networks:
        assert networks.inspect("bridge").subnet == "172.19.0.0/16"


async def test_a_subnet_the_host_has_come_to_use_is_left_before_the_first_container(
    host: Namespace, outside: Namespace, tmp_path: Path
) -> None:
    async with engine(tmp_path) as networks:
        assert networks.inspect("bridge").subnet == "172.17.0.0/16"
        host.address("uplink", "172.17.5.1/24")
        made = await asyncio.gather(*(networks.connect(name, name) for name in "abc"))
        assert all(sandbox.endpoint.ip.startswith("172.18.0.") for sandbox in made)
        assert networks.inspect("bridge").gateway == "172.18.0.1"
        for name in "abc":
            await networks.disconnect(name)
    async with engine(tmp_path) as networks:
        assert networks.inspect("bridge").subnet == "172.18.0.0/16"


async def test_a_bridge_of_someone_else_is_not_taken(host: Namespace, tmp_path: Path) -> None:
    async with engine(tmp_path) as networks:
        name = networks.inspect("bridge").bridge
        host.add_bridge(name)
        with pytest.raises(HostLimit, match=f"{name}: an interface of this name exists that is not Dosirak's"):
            await networks.connect("a", "a")
        assert networks.sandbox("a") is None
    assert name in host.links()
    host.delete_link(name)


async def test_a_bridge_made_by_halves_is_made_whole(host: Namespace, tmp_path: Path) -> None:
    """A service may be killed between the messages that make a bridge."""
    async with engine(tmp_path) as networks:
        network = networks.inspect("bridge")
        host.add_bridge(network.bridge, address="02:42:ac:11:00:01")
        box = await networks.connect("a", "a")
        assert inside(box.netns_fd).ping("172.17.0.1")
        await networks.disconnect("a")


async def test_a_container_that_can_t_be_connected_leaves_no_rule(
    host: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    async with engine(tmp_path) as networks:
        with monkeypatch.context() as patch:
            patch.setattr(links, "create_bridge", refuse)
            with pytest.raises(HostLimit, match="network bridge: can't connect a container: Operation not permitted"):
                await networks.connect("a", "a")
        assert set(host.links()) == {"lo"} and tables(host) == []
        await networks.connect("a", "a")
        await networks.disconnect("a")


async def test_without_the_library_the_error_says_what_to_install(
    host: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nftables, "_LIBRARY", "libnot-there.so.1")
    async with engine(tmp_path) as networks:
        with pytest.raises(HostLimit, match=r"libnot-there\.so\.1: not found; install it"):
            await networks.connect("a", "a")
        assert set(host.links()) == {"lo"}
        await networks.connect("b", "b", "none")
        await networks.disconnect("b")


async def test_forwarding_that_was_on_stays_on(host: Namespace, tmp_path: Path) -> None:
    host.set_sysctl("ipv4/ip_forward", "1")
    async with engine(tmp_path) as networks:
        await networks.connect("a", "a")
        await networks.disconnect("a")
    assert host.sysctl("ipv4/ip_forward") == "1"
    host.set_sysctl("ipv4/ip_forward", "0")


async def test_no_descriptor_and_no_thread_is_left(host: Namespace, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with engine(tmp_path) as networks:
        for number in range(8):
            network = ("bridge", "none", "host")[number % 3]
            await networks.connect(str(number), "c", network, ports=[PortBinding(80)])
        for number in range(5):
            await networks.disconnect(str(number))
        await networks.teardown()
        assert any("dosirak-networks" in name for name in thread_names())
        for number in range(5, 8):
            await networks.disconnect(str(number))
    assert not any("dosirak-networks" in name for name in thread_names())
    assert len(os.listdir("/proc/self/fd")) == before


def thread_names() -> list[str]:
    import threading

    return [thread.name for thread in threading.enumerate()]


async def test_an_idle_engine_keeps_no_timer(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_driver, "IDLE", 0.05)
    await networks.connect("a", "a")
    await networks.disconnect("a")
    await networks.teardown()
    driver = networks._registry.find("bridge")
    assert driver._idle_timer is None and driver._linger_timer is None  # type: ignore[attr-defined]
