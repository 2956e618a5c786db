"""What `create` refuses, in the words of moby (runconfig, daemon/container.go, volume/mounts), and with its status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

BIND, VOLUME, TMPFS, IMAGE = "bind", "volume", "tmpfs", "image"


def mount(kind: str, source: str = "", target: str = "/t", **options: Any) -> dict[str, Any]:
    """A request with this one mount."""
    return {"HostConfig": {"Mounts": [{"Type": kind, "Source": source, "Target": target, **options}]}}


def host(**fields: Any) -> dict[str, Any]:
    """A request with these fields of HostConfig."""
    return {"HostConfig": fields}


MOUNTS = [
    (mount(BIND, "/etc", ""), "field Target must not be empty"),
    (mount(BIND, "/etc", "/"), "invalid specification: destination can't be '/'"),
    (mount(BIND, "/etc", "/a/.."), "invalid specification: destination can't be '/'"),
    (mount(BIND, "/etc", "t"), "invalid mount path: 't' mount path must be absolute"),
    (mount(BIND), "field Source must not be empty"),
    (mount(BIND, "etc"), "invalid mount path: 'etc' mount path must be absolute"),
    (mount(BIND, "/nosuch"), "bind source path does not exist: /nosuch"),
    (mount(BIND, "/etc", BindOptions={"Propagation": "up"}), "invalid propagation mode: up"),
    (mount(BIND, "/etc", ImageOptions={}), "field ImageOptions must not be specified"),
    (mount(VOLUME, ImageOptions={}), "field ImageOptions must not be specified"),
    (mount(VOLUME, VolumeOptions={"Subpath": "a"}), "must not set Subpath when using anonymous volumes"),
    (mount(VOLUME, "v", VolumeOptions={"Subpath": "/a"}), "subpath must be a relative path within the volume"),
    (mount(VOLUME, "v", VolumeOptions={"Subpath": "../a"}), "subpath must be a relative path within the volume"),
    (mount(VOLUME, ReadOnly=True), "must not set ReadOnly mode when using anonymous volumes"),
    (mount(TMPFS, "x"), "field Source must not be specified"),
    (mount(TMPFS, TmpfsOptions={"Options": [["huge"]]}), "invalid option: huge"),
    (mount(TMPFS, TmpfsOptions={"Options": [[]]}), "invalid option array length"),
    (mount(IMAGE), "field Source must not be empty"),
    (mount(IMAGE, "busybox", ImageOptions={"Subpath": "/x"}), "subpath must be a relative path within the volume"),
    (mount("npipe", "x"), "mount type unknown"),
    (mount("", "x"), "mount type unknown"),
]
OTHERS = [
    (host(NetworkMode="container:"), "invalid network mode: invalid container format container:<name|id>"),
    ({"Hostname": "x", **host(NetworkMode="container:a")}, "conflicting options: hostname and the network mode"),
    (host(NetworkMode="container:a", Dns=["1.1.1.1"]), "conflicting options: dns and the network mode"),
    (host(NetworkMode="container:a", ExtraHosts=["a:1.1.1.1"]),
     "conflicting options: custom host-to-IP mapping and the network mode"),
    (host(NetworkMode="container:a", PublishAllPorts=True),
     "conflicting options: port publishing and the container type network mode"),
    ({"ExposedPorts": {"80/tcp": {}}, **host(NetworkMode="container:a")},
     "conflicting options: port exposing and the container type network mode"),
    ({"Hostname": "x", **host(UTSMode="host")}, "conflicting options: hostname and the UTS mode"),
    (host(Isolation="hyperv"), "invalid isolation (hyperv): linux only supports 'default'"),
    (host(IOMaximumBandwidth=1), "invalid option: QoS maximum bandwidth configuration is not supported on linux"),
    (host(IOMaximumIOps=1), "invalid option: QoS maximum IOPs configuration is not supported on linux"),
    (host(CpuShares=-1), "invalid CPU shares (-1): value must be a positive integer"),
    ({"WorkingDir": "w"}, "the working directory 'w' is invalid, it needs to be an absolute path"),
    ({"StopSignal": "NO"}, "invalid signal: NO"),
    ({"Env": ["=x"]}, "invalid environment variable: =x"),
    ({"Healthcheck": {"Interval": 1}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Timeout": 1}}, "Timeout in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartPeriod": 1}}, "StartPeriod in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"StartInterval": 1}}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Retries": -1}}, "Retries in Healthcheck cannot be negative"),
    (host(AutoRemove=True, RestartPolicy={"Name": "always"}),
     "can't create 'AutoRemove' container with restart policy"),
    (host(RestartPolicy={"Name": "always", "MaximumRetryCount": 2}),
     "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
    (host(RestartPolicy={"Name": "no", "MaximumRetryCount": -2}),
     "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative"),
    (host(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": -2}),
     "invalid restart policy: maximum retry count cannot be negative"),
    (host(RestartPolicy={"Name": "soon"}),
     "invalid restart policy: unknown policy 'soon'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"),
    (host(CapAdd=["NOSUCH"]), 'invalid CapAdd: unknown capability: "CAP_NOSUCH"'),
    (host(CapDrop=["NOSUCH"]), 'invalid CapDrop: unknown capability: "CAP_NOSUCH"'),
    (host(Annotations={"": "x"}), "invalid Annotations: the empty string is not permitted as an annotation key"),
    (host(PortBindings={"x/tcp": []}), 'invalid port specification: "x/tcp"'),
    (host(IpcMode="x"), "invalid IPC mode: x"),
    (host(PidMode="x"), "invalid PID mode: x"),
    (host(UTSMode="x"), "invalid UTS mode: x"),
    (host(CgroupnsMode="x"), "invalid cgroup namespace mode: x"),
    (host(ShmSize=-1), "SHM size can not be less than 0"),
    (host(OomScoreAdj=1001), "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
    (host(Runtime="nosuch"), "unknown or invalid runtime name: nosuch"),
    (host(Memory=1 << 20), "Minimum memory limit allowed is 6MB"),
    (host(Memory=64 << 20, MemorySwap=32 << 20),
     "Minimum memoryswap limit should be larger than memory limit, see usage"),
    (host(MemorySwap=64 << 20), "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (host(MemoryReservation=64 << 20, Memory=32 << 20),
     "Minimum memory limit can not be less than memory reservation limit, see usage"),
    (host(NanoCpus=10**9, CpuPeriod=10**5), "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    (host(CpuPeriod=1), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    (host(CpuQuota=1), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    (host(BlkioWeight=5000), "Range of blkio weight is from 10 to 1000"),
    (host(Tmpfs={"/": ""}), "invalid specification: destination can't be '/'"),
    (host(Tmpfs={"t": ""}), "invalid mount path: 't' mount path must be absolute"),
    (host(Binds=["/a:/b:nosuch"]), "invalid mode: nosuch"),
    (host(Binds=[":/b"]), "invalid volume specification: ':/b'"),
    (host(Binds=["/a:/b:ro:x"]), "invalid volume specification: '/a:/b:ro:x'"),
    (host(Binds=["/etc:/b", "/etc:/b"]), "Duplicate mount point: /b"),
    (host(LogConfig={"Type": "json-file", "Config": {"nosuch": "1"}}),
     "unknown log opt 'nosuch' for json-file log driver"),
    ({"Image": ""}, "no image specified"),
    ({"Image": "UPPER"}, "invalid reference format: repository name (library/UPPER) must be lowercase"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), MOUNTS, ids=[words for _, words in MOUNTS])
def test_mounts(ask: Callable[..., Any], busybox: str, body: dict[str, Any], words: str) -> None:
    kind = body["HostConfig"]["Mounts"][0]["Type"]
    answer = ask("POST", "/containers/create", {"Image": busybox, "Cmd": ["true"], **body})
    assert (answer.status, answer.message) == (400, f'invalid mount config for type "{kind}": {words}')


@pytest.mark.parametrize(("body", "words"), OTHERS, ids=[words for _, words in OTHERS])
def test_everything_else(ask: Callable[..., Any], busybox: str, body: dict[str, Any], words: str) -> None:
    answer = ask("POST", "/containers/create", {"Image": busybox, "Cmd": ["true"], **body})
    assert (answer.status, answer.message) == (400, words)


def test_nothing_is_left_of_what_was_refused(ask: Callable[..., Any], busybox: str) -> None:
    volumes = ask("GET", "/volumes").json["Volumes"]
    for body, _ in MOUNTS:
        ask("POST", "/containers/create?name=taken", {"Image": busybox, "Cmd": ["true"], **body})
    assert ask("GET", "/containers/json?all=1").json == []
    assert ask("GET", "/volumes").json["Volumes"] == volumes
    assert ask("POST", "/containers/create?name=taken", {"Image": busybox}).status == 201
