"""Answers against the published description of API 1.51: every field is there with its type, and none is made up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from support import contract
from support.engines import Engine

# What Go leaves out when it is empty (`omitempty` in moby's api/types), and what belongs to Windows or Swarm.
LEFT_OUT = re.compile(
    r"""
    \.Config\.(ArgsEscaped|Healthcheck|MacAddress|NetworkDisabled|Shell|StopSignal|StopTimeout|ExposedPorts)
    | \.Healthcheck\.(Test|Interval|Timeout|Retries|StartPeriod|StartInterval)
    | \.HostConfig\.(Annotations|Init|KernelMemoryTCP|StorageOpt|Sysctls|Tmpfs|Mounts)
    | \.Mounts\[\]\.(\w+Options|Consistency|ReadOnly|Name|Driver)
    | \.Mounts\[\]\.\w+Options\.\w+ (\.Name)?
    | \.(State\.Health|SizeRw|SizeRootFs|Manifests|Variant|OsVersion|Experimental|ClusterVolume|Status|UsageData|Peers)
    | \.Descriptor\.(annotations|artifactType|data|platform|urls)
    | \.ImageManifestDescriptor\.(annotations|artifactType|data|urls)
    | \.(Platform|platform)\.(variant|os\.version|os\.features)
    | \.AttestationData
    | \.(Containerd|DefaultAddressPools|DiscoveredDevices|KernelMemoryTCP|ProductLicense|Runtimes\.\{\}\.\w+)
    | \.FirewallBackend\.Info
    | \.Swarm\.(Cluster|Managers|Nodes)
    | \.IPAM\.Config\[\]\.(AuxiliaryAddresses|IPRange|Gateway)
    | \.Volumes\[\]\.(ClusterVolume|Status)
    | \.Error
    | \.memory_stats\.(commitbytes|commitpeakbytes|failcnt|privateworkingset|max_usage)
    | \.networks\.\{\}\.(endpoint_id|instance_id)
    | \.pids_stats\.limit
    | \.BuildCache\[\]\.Parents
    | \.(pre)?cpu_stats\.(cpu_usage\.percpu_usage|system_cpu_usage|online_cpus)
    | \.storage_stats\.\w+
    | \.(Deleted|Untagged)
    """,
    re.VERBOSE,
)
# The description says nothing of null there, but Go has a pointer: null is "not set", or "not yet".
NULL = {".HostConfig.MemorySwappiness: null", ".ExitCode: null"}


def wrong(operation: str, answer: Any) -> list[str]:
    """What does not fit, beyond what Docker itself leaves out."""
    return [
        problem
        for problem in contract.problems(operation, answer)
        if problem not in NULL
        and not (problem.endswith(": missing") and re.search(LEFT_OUT.pattern + r":\ missing$", problem, re.VERBOSE))
    ]


PLAIN: dict[str, Any] = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
FULL: dict[str, Any] = {
    **PLAIN,
    "Hostname": "inner", "Domainname": "lan", "User": "0", "Env": ["A=1"], "Labels": {"a": "b"}, "Tty": True,
    "OpenStdin": True, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "WorkingDir": "/", "StopSignal": "INT",
    "StopTimeout": 3, "Shell": ["sh", "-c"], "ArgsEscaped": True, "MacAddress": "02:42:ac:11:00:99",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**10, "Timeout": 10**9, "Retries": 2,
                    "StartPeriod": 10**9, "StartInterval": 10**9},
    "HostConfig": {
        "Memory": 64 << 20, "Annotations": {"x": "y"}, "Init": True, "Sysctls": {"net.ipv4.ip_default_ttl": "60"},
        "Tmpfs": {"/t": ""}, "CpusetCpus": "0", "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n",
                                                             "CgroupPermissions": "rwm"}],
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "RestartPolicy": {"Name": "on-failure"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "Mounts": [
            {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True, "Consistency": "cached",
             "VolumeOptions": {"NoCopy": True, "Labels": {"l": "m"}}},
            {"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}},
            {"Type": "bind", "Source": "/etc", "Target": "/e", "ReadOnly": True,
             "BindOptions": {"Propagation": "rslave", "NonRecursive": True}},
        ],
    },
}  # fmt: skip


@pytest.fixture
def make(ask: Callable[..., Any], busybox: str) -> Callable[..., str]:
    """Creates and starts a container of a request; returns its id."""

    def make(body: dict[str, Any], version: str = "/v1.51") -> str:
        created = ask("POST", f"{version}/containers/create", body)
        assert created.status == 201, created.body
        assert wrong("POST /containers/create", created.json) == []
        started = ask("POST", f"/containers/{created.json['Id']}/start")
        assert started.status == 204, started.body
        return created.json["Id"]

    return make


@pytest.mark.parametrize("body", [PLAIN, FULL], ids=["plain", "full"])
def test_a_container_is_described_as_published(
    make: Callable[..., str], ask: Callable[..., Any], body: dict[str, Any]
) -> None:
    ident = make(body)
    assert wrong("GET /containers/{id}/json", ask("GET", f"/containers/{ident}/json?size=1").json) == []
    assert wrong("GET /containers/json", ask("GET", "/containers/json?size=1").json) == []
    assert wrong("GET /containers/{id}/top", ask("GET", f"/containers/{ident}/top").json) == []
    made = ask("POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True})
    assert wrong("POST /containers/{id}/exec", made.json) == []
    assert wrong("GET /exec/{id}/json", ask("GET", f"/exec/{made.json['Id']}/json").json) == []
    assert ask("POST", f"/containers/{ident}/kill").status == 204
    assert wrong("GET /containers/{id}/json", ask("GET", f"/containers/{ident}/json").json) == []
    assert wrong("GET /containers/json", ask("GET", "/containers/json?all=1").json) == []


def test_what_a_client_sets_is_what_inspect_shows(make: Callable[..., str], ask: Callable[..., Any]) -> None:
    shown = ask("GET", f"/containers/{make(FULL)}/json?size=1").json
    left = [problem for problem in contract.problems("GET /containers/{id}/json", shown) if "missing" in problem]
    # Nothing is left out of a container that has everything, but what no Linux container can have, and what mounts of
    # another type have.
    assert {problem for problem in left if "Mounts" not in problem} <= {
        ".Config.NetworkDisabled: missing",
        ".HostConfig.KernelMemoryTCP: missing",
        ".HostConfig.StorageOpt: missing",
        *(f".ImageManifestDescriptor.{name}: missing" for name in ("annotations", "artifactType", "data", "urls")),
        *(f".ImageManifestDescriptor.platform.{name}: missing" for name in ("variant", "os.version", "os.features")),
    }
    _shows(FULL | {"HostConfig": {}}, shown["Config"])
    _shows(FULL["HostConfig"], shown["HostConfig"])


def _shows(asked: Any, shown: Any) -> None:
    for name, value in asked.items():
        if name == "HostConfig":
            continue
        if name == "Env":
            assert set(value) <= set(shown[name])
        elif isinstance(value, dict):
            assert shown[name].items() >= {**shown[name], **value}.items() or name == "RestartPolicy"
        else:
            assert shown[name] == value, name


def test_docker_s_defaults_stand_in_host_config(make: Callable[..., str], ask: Callable[..., Any]) -> None:
    host = ask("GET", f"/containers/{make(PLAIN)}/json").json["HostConfig"]
    masked, readonly = host.pop("MaskedPaths"), host.pop("ReadonlyPaths")
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(masked)
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(readonly)
    assert host.pop("OomKillDisable") in (False, None)
    empty = ("", 0, None)  # and False, which is 0
    assert {name: value for name, value in host.items() if isinstance(value, (list, dict)) or value not in empty} == {
        "ConsoleSize": [0, 0],
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "bridge",
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "CgroupnsMode": "private",
        "IpcMode": "private",
        "ShmSize": 64 << 20,
        "Runtime": "dosirak",
    }


def test_the_rest_is_described_as_published(make: Callable[..., str], ask: Callable[..., Any], engine: Engine) -> None:
    make(FULL)
    for operation, path in (
        ("GET /images/json", "/images/json?manifests=1&shared-size=1"),
        ("GET /images/{name}/json", "/images/busybox/json?manifests=1"),
        ("GET /images/{name}/history", "/images/busybox/history"),
        ("GET /info", "/info"),
        ("GET /version", "/version"),
        ("GET /system/df", "/system/df"),
        ("GET /networks", "/networks"),
        ("GET /networks/{id}", "/networks/bridge"),
        ("GET /volumes", "/volumes"),
        ("GET /volumes/{name}", "/volumes/data"),
        ("GET /plugins", "/plugins"),
    ):
        answer = ask("GET", f"/v1.51{path}")
        assert answer.status == 200, (path, answer.body)
        if operation in contract.OPERATIONS:
            assert wrong(operation, answer.json) == [], operation
    waited = ask("POST", "/containers/create", PLAIN).json["Id"]
    assert wrong("POST /containers/{id}/wait", ask("POST", f"/containers/{waited}/wait").json) == []


def test_what_changes_things_answers_as_published(make: Callable[..., str], ask: Callable[..., Any]) -> None:
    ident = make(PLAIN)
    body: Any
    for operation, path, body in (
        ("POST /networks/create", "/networks/create", {"Name": "own"}),
        ("GET /networks/{id}", "/networks/own", None),
        ("GET /containers/{id}/stats", f"/containers/{ident}/stats?stream=0&one-shot=1", None),
        ("GET /containers/{id}/changes", f"/containers/{ident}/changes", None),
        ("POST /containers/{id}/update", f"/containers/{ident}/update", {"Memory": 64 << 20, "MemorySwap": -1}),
        ("POST /commit", f"/commit?container={ident}&repo=kept", None),
        ("DELETE /images/{name}", "/images/kept", None),
        ("POST /networks/prune", "/networks/prune", None),
        ("POST /containers/prune", "/containers/prune", None),
        ("POST /images/prune", "/images/prune", None),
        ("POST /volumes/prune", "/volumes/prune", None),
        ("POST /build/prune", "/build/prune", None),
    ):
        answer = ask(operation.split(" ", 1)[0], f"/v1.51{path}", body)
        assert answer.status in (200, 201), (path, answer.body)
        assert wrong(operation, answer.json) == [], operation


def test_a_comparison_can_fail() -> None:
    answer = {"Id": 5, "Warnings": [], "Extra": 1}
    assert contract.problems("POST /containers/create", answer) == [".Extra: made up", ".Id: int instead of string"]


# -- older versions ------------------------------------------------------------------------------------------------

FROM, UNTIL = "from", "until"
GATES = [
    ("/containers/json", "ImageManifestDescriptor", FROM, (1, 48)),
    ("/containers/box/json", "ImageManifestDescriptor", FROM, (1, 48)),
    ("/images/json", "Descriptor", FROM, (1, 48)),
    ("/images/json?manifests=1", "Manifests", FROM, (1, 47)),
    ("/images/json", "VirtualSize", UNTIL, (1, 44)),
    ("/images/busybox/json", "Descriptor", FROM, (1, 48)),
    ("/images/busybox/json?manifests=1", "Manifests", FROM, (1, 48)),
    ("/images/busybox/json", "VirtualSize", UNTIL, (1, 44)),
    ("/images/busybox/json", "ContainerConfig", UNTIL, (1, 45)),
    ("/images/busybox/json", "Config.Hostname", UNTIL, (1, 50)),
    ("/info", "FirewallBackend", FROM, (1, 49)),
    ("/info", "RuncCommit.Expected", UNTIL, (1, 49)),
    ("/info", "BridgeNfIptables", UNTIL, (1, 50)),
    ("/system/df", "BuilderSize", UNTIL, (1, 42)),
]


def _has(document: Any, path: str) -> bool:
    for name in path.split("."):
        document = document[0] if isinstance(document, list) else document
        if name not in document:
            return False
        document = document[name]
    return True


def test_older_versions_get_the_shape_of_their_time(make: Callable[..., str], ask: Callable[..., Any]) -> None:
    ident = make(PLAIN)
    assert ask("POST", f"/containers/{ident}/rename?name=box").status == 204
    for path, field, kind, (major, minor) in GATES:
        for version in (minor - 1, minor):
            document = ask("GET", f"/v{major}.{version}{path}").json
            assert _has(document, field) == ((version >= minor) == (kind == FROM)), (path, field, version)
    assert ask("GET", "/v1.50/images/json").json[0]["Containers"] == -1
    assert ask("GET", "/v1.51/images/json").json[0]["Containers"] == 1


@pytest.mark.parametrize(
    ("version", "host", "words"),
    [
        ("1.42", {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/e", "TmpfsOptions": {}}]},
         'TmpfsOptions must not be specified on mount type "bind"'),
        ("1.43", {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/e", "ReadOnly": True,
                              "BindOptions": {"ReadOnlyForceRecursive": True}}]},
         "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"),
        ("1.44", {"Mounts": [{"Type": "volume", "Source": "x", "Target": "/e", "VolumeOptions": {"Subpath": "a"}}]},
         "VolumeOptions.Subpath needs API v1.45 or newer"),
        ("1.47", {"Mounts": [{"Type": "image", "Source": "x", "Target": "/e"}]},
         'Mount type "Image" needs API v1.48 or newer'),
    ],
)  # fmt: skip
def test_what_came_later_is_refused_to_older_clients(
    ask: Callable[..., Any], busybox: str, version: str, host: dict[str, Any], words: str
) -> None:
    answer = ask("POST", f"/v{version}/containers/create", {**PLAIN, "HostConfig": host})
    assert (answer.status, answer.message) == (400, words)


def test_an_older_client_s_request_means_what_it_meant(ask: Callable[..., Any], busybox: str) -> None:
    body = {
        **PLAIN,
        "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 10**9},
        "MacAddress": "02:42:ac:11:00:77",
        "HostConfig": {"Annotations": {"a": "b"}, "ConsoleSize": [10, 20], "PidsLimit": -1},
    }
    for version, ipc, notes, console in (
        ("1.39", "shareable", None, [0, 0]),
        ("1.41", "private", None, [0, 0]),
        ("1.51", "private", {"a": "b"}, [10, 20]),
    ):
        created = ask("POST", f"/v{version}/containers/create", body).json
        shown = ask("GET", f"/containers/{created['Id']}/json").json
        host = shown["HostConfig"]
        assert (host["IpcMode"], host.get("Annotations"), host["ConsoleSize"]) == (ipc, notes, console)
        assert host["PidsLimit"] is None
        assert ("StartInterval" in shown["Config"]["Healthcheck"]) == (version == "1.51")
        assert shown["Config"]["MacAddress"] == "02:42:ac:11:00:77"
        assert any("MacAddress field is now deprecated" in line for line in created["Warnings"]) == (version == "1.51")
