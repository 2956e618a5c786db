"""`/dosirak/…`: topology, namespaces, layers; and the shape of Docker's documents."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What docker inspect has in API 1.51 (moby, api/docs/v1.51.yaml), as far as it holds for Linux.
INSPECT = (
    "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform"
    " MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings"
)
HOST_CONFIG = (
    "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom"
    " ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links"
    " OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Isolation"
    " CpuShares Memory NanoCpus CgroupParent BlkioWeight CpuPeriod CpuQuota CpusetCpus CpusetMems Devices"
    " MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits MaskedPaths ReadonlyPaths"
)


def test_the_topology_tells_who_is_connected_to_what(
    docker: Callable[..., Any], ask: Callable[..., Any], busybox: str
) -> None:
    docker("run", "-d", "--name", "web", "-p", "127.0.0.1::80", busybox, "sleep", "100")
    docker("create", "--name", "later", busybox)
    seen = ask("GET", "/dosirak/topology").json
    assert seen["host"]["name"] == os.uname().nodename
    bridge = next(network for network in seen["networks"] if network["name"] == "bridge")
    (endpoint,) = bridge["endpoints"]
    assert endpoint["name"] == "web"
    assert Path(f"/sys/class/net/{bridge['bridge']}/brif/{endpoint['veth']}").exists()
    assert endpoint["ip"].rpartition(".")[0] == bridge["gateway"].rpartition(".")[0]
    (port,) = endpoint["ports"]
    assert (port["container_port"], port["protocol"], port["host_ip"]) == (80, "tcp", "127.0.0.1")
    states = {container["name"]: container["state"] for container in seen["containers"]}
    assert states == {"web": "running", "later": "created"}
    web = next(container for container in seen["containers"] if container["name"] == "web")
    assert web["ports"] == {"80/tcp": [{"host_ip": "127.0.0.1", "host_port": str(port["host_port"])}]}
    assert web["networks"] == ["bridge"]


def test_the_namespaces_are_the_kernels_own_numbers(
    docker: Callable[..., Any], ask: Callable[..., Any], busybox: str
) -> None:
    docker("run", "-d", "--name", "spaces", "--network", "host", busybox, "sleep", "100")
    seen = ask("GET", "/dosirak/containers/spaces/namespaces").json
    by_type = {entry["type"]: entry for entry in seen["namespaces"]}
    assert set(by_type) == {"mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time"}
    for kind, entry in by_type.items():
        assert os.readlink(f"/proc/{seen['pid']}/ns/{kind}") == f"{kind}:[{entry['inode']}]"
        assert os.readlink(f"/proc/self/ns/{kind}") == f"{kind}:[{entry['host']}]"
        assert entry["own"] == (entry["inode"] != entry["host"])
    assert not by_type["net"]["own"]
    assert by_type["pid"]["own"]
    docker("rm", "-f", "spaces")
    docker("create", "--name", "still", busybox)
    answer = ask("GET", "/dosirak/containers/still/namespaces")
    assert answer.status == 409
    assert "is not running" in answer.message


def test_the_layers_of_an_image_come_with_their_history(ask: Callable[..., Any], busybox: str) -> None:
    seen = ask("GET", f"/dosirak/images/{busybox}/layers").json
    document = ask("GET", f"/images/{busybox}/json").json
    assert [layer["diff_id"] for layer in seen["layers"]] == document["RootFS"]["Layers"]
    assert seen["id"] == document["Id"]
    assert seen["layers"][0]["size"] > 0


def test_inspect_has_every_field_docker_has(docker: Callable[..., Any], ask: Callable[..., Any], busybox: str) -> None:
    docker("run", "-d", "--name", "full", busybox, "sleep", "100")
    document = ask("GET", "/v1.51/containers/full/json").json
    assert set(INSPECT.split()) <= set(document)
    assert set(HOST_CONFIG.split()) <= set(document["HostConfig"])
    assert document["Name"] == "/full"
    assert Path(document["LogPath"]).exists()
    assert Path(document["HostsPath"]).read_text().count("localhost")
    assert Path(document["GraphDriver"]["Data"]["UpperDir"]).is_dir()
    assert document["NetworkSettings"]["IPAddress"] == document["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    sized = ask("GET", "/v1.51/containers/full/json?size=1").json
    assert sized["SizeRootFs"] > 100_000
    assert sized["SizeRw"] >= 0


@pytest.mark.parametrize(("version", "has"), [("1.43", False), ("1.48", True)])
def test_an_image_has_the_fields_of_the_version_asked_for(
    ask: Callable[..., Any], busybox: str, version: str, has: bool
) -> None:
    document = ask("GET", f"/v{version}/images/{busybox}/json").json
    assert ("Descriptor" in document) is has
    assert ("VirtualSize" in document) is not has
    assert ("ContainerConfig" in document) is not has
    listed = ask("GET", f"/v{version}/images/json").json[0]
    assert ("Descriptor" in listed) is has
    assert listed["Containers"] == -1


def test_attach_over_a_web_socket(engine: Any, docker: Callable[..., Any], busybox: str) -> None:
    import asyncio

    import aiohttp

    docker("run", "-d", "-i", "--name", "webby", busybox, "cat")

    async def talk() -> bytes:
        connector = aiohttp.UnixConnector(str(engine.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect("http://docker/v1.51/containers/webby/attach/ws?stdin=1&stdout=1&stream=1") as socket,
        ):
            await socket.send_bytes(b"through the web\n")
            return await socket.receive_bytes(timeout=10)

    assert asyncio.run(talk()) == b"through the web\n"
    assert docker("inspect", "-f", "{{.State.Running}}", "webby").stdout.strip() == "true"


def test_layers_tell_what_they_change_and_what_is_wasted(
    ask: Callable[..., Any], docker: Callable[..., Any], busybox: str
) -> None:
    docker(
        "run", "--name", "changes", busybox, "sh", "-c", "echo hello > /bin/added; echo x > /etc/new; rm /bin/busybox"
    )
    docker("commit", "changes", "changed/image:1")
    seen = ask("GET", "/dosirak/images/changed/image:1/layers?path=/bin/busybox").json
    lower, upper = seen["layers"]
    assert upper["files"]["deleted"] >= 1
    assert upper["files"]["added"] == 2
    assert lower["wasted"] == seen["wasted"] > 100_000
    assert 0 <= seen["efficiency"] < 1
    assert [(one["layer"], one["change"]) for one in seen["path"]] == [(0, "A"), (1, "D")]
    found = ask("GET", "/dosirak/images/changed/image:1/layers/1/files").json
    assert {"path": "/bin/added", "change": "A", "size": 6, "type": "file"} in found
    for number in ("2", "-1", "x"):
        assert ask("GET", f"/dosirak/images/changed/image:1/layers/{number}/files").status == 404
