"""The predefined networks: what `network ls` and `inspect` show, and `none` and `host`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.networks import Networks
from dosirak.engine.networks.model import CreateRequest
from dosirak.engine.networks.names import bridge_name
from dosirak.engine.settings import Settings
from dosirak.engine.state import Database, Events
from support.wires import Namespace, inside


async def test_the_three_of_docker_exist_from_the_start(networks: Networks) -> None:
    assert [(network.name, network.driver, network.scope) for network in networks.list()] == [
        ("bridge", "bridge", "local"),
        ("host", "host", "local"),
        ("none", "null", "local"),
    ]


async def test_they_keep_their_ids(host: Namespace, settings: Settings) -> None:
    seen = []
    for _ in range(2):
        db = Database(settings.data / "state.db")
        networks = Networks(db, settings, Events())
        await networks.start()
        seen.append([(network.id, network.created) for network in networks.list()])
        await networks.close()
        db.close()
    assert seen[0] == seen[1]


async def test_the_default_bridge_has_docker_s_options(networks: Networks, settings: Settings) -> None:
    bridge = networks.inspect("bridge")
    assert (bridge.subnet, bridge.gateway) == ("172.17.0.0/16", "172.17.0.1")
    assert bridge.options == {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": bridge_name(settings.data),
        "com.docker.network.driver.mtu": "1500",
    }
    assert not (bridge.internal or bridge.attachable or bridge.ingress or bridge.enable_ipv6)


async def test_a_network_is_found_by_name_id_and_prefix(networks: Networks) -> None:
    bridge = networks.inspect("bridge")
    assert networks.inspect(bridge.id) == networks.inspect(bridge.id[:12]) == bridge
    for ref in ("", "nothing"):
        with pytest.raises(NotFound, match=f"network {ref} not found"):
            networks.inspect(ref)


async def test_an_ambiguous_prefix_is_refused(networks: Networks) -> None:
    made = [await networks.create(CreateRequest(name=f"n{number}")) for number in range(17)]
    first = [network.id[0] for network in made]
    prefix = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidRequest, match=f"network {prefix} is ambiguous"):
        networks.inspect(prefix)
    for network in made:
        await networks.remove(network.id)


async def test_inspect_shows_the_endpoints_of_running_containers(networks: Networks) -> None:
    sandbox = await networks.connect("a" * 64, "web", hostname="shop")
    (endpoint,) = networks.inspect("bridge").endpoints
    assert endpoint == sandbox.endpoint
    assert (endpoint.container, endpoint.name, endpoint.hostname) == ("a" * 64, "web", "shop")
    assert len(endpoint.id) == len(endpoint.sandbox_id) == 64 and endpoint.id != endpoint.sandbox_id
    await networks.disconnect("a" * 64)
    assert networks.inspect("bridge").endpoints == ()


async def test_none_has_a_loopback_and_nothing_else(networks: Networks, host: Namespace) -> None:
    sandbox = await networks.connect("a" * 64, "web", "none")
    box = inside(sandbox.netns_fd)
    assert set(box.links()) == {"lo"} and box.links()["lo"]["up"]
    assert box.ping("127.0.0.1") and not box.ping("172.17.0.1") and box.default_route() is None
    assert (sandbox.endpoint.ip, sandbox.endpoint.mac, sandbox.endpoint.gateway) == ("", "", "")
    assert set(host.links()) == {"lo"}, "no bridge is needed for it"


async def test_each_container_without_a_network_has_a_namespace_of_its_own(networks: Networks) -> None:
    made = await asyncio.gather(*(networks.connect(str(number), "c", "none") for number in range(6)))
    inodes = {Path(f"/proc/self/fd/{sandbox.netns_fd}").stat().st_ino for sandbox in made}
    assert len(inodes) == 6


async def test_host_joins_nothing(networks: Networks) -> None:
    sandbox = await networks.connect("a" * 64, "web", "host")
    assert sandbox.netns_fd is None
    assert networks.inspect("host").endpoints[0].name == "web"


async def test_a_container_that_was_never_connected_is_disconnected_in_peace(networks: Networks) -> None:
    await networks.disconnect("a" * 64)
    assert networks.sandbox("a" * 64) is None
