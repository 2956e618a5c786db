"""`/_ping`, `/version`, `/info`, `/system/df`."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from aiohttp.web_response import Response, StreamResponse

from dosirak import __version__
from dosirak.engine.api import container_view, host, image_view, limits, registry, reply, times, versions, volumes
from dosirak.engine.api.router import Route
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import platforms
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.runtime import privilege

if TYPE_CHECKING:
    from dosirak.engine.api.call import Call
    from dosirak.engine.api.versions import Version
    from dosirak.engine.build.cache import Usage

# Builder-Version 1 makes the docker CLI use the classic builder, which is the one answered here.
_PING = {
    **reply.COMMON_HEADERS,
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Content-Type": "text/plain; charset=utf-8",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}


async def ping(call: Call) -> StreamResponse:
    """`GET /_ping`, `HEAD /_ping`."""
    if call.request.method == "HEAD":
        return Response(headers={**_PING, "Content-Length": "0"})
    return Response(body=b"OK", headers=_PING)


async def version(call: Call) -> StreamResponse:
    """`GET /version`."""
    engine = {
        "ApiVersion": versions.text(versions.MAXIMUM),
        "Arch": platforms.host().architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": os.uname().release,
        "MinAPIVersion": versions.text(versions.MINIMUM),
        "Os": platform.system().lower(),
        "PythonVersion": platform.python_version(),
    }
    flat = {name: engine[name] for name in ("ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch")}
    return reply.json(
        {
            "Platform": {"Name": "Dosirak Engine"},
            "Components": [{"Name": "Engine", "Version": __version__, "Details": engine}],
            "Version": __version__,
            **flat,
            "KernelVersion": engine["KernelVersion"],
            "BuildTime": "",
        }
    )


async def info(call: Call) -> StreamResponse:
    """`GET /info`."""
    rooms = call.rooms
    containers = rooms.containers.list(all=True)
    states = [container.state for container in containers]
    release = host.os_release()
    forwards = host.ipv4_forwarding()
    warnings = limits.warnings(rooms.containers.limits.host)
    if not forwards:
        warnings.append("WARNING: IPv4 forwarding is disabled")
    registries, unread = await in_thread(registry.configured, rooms.settings.data)
    warnings += [*unread, *rooms.containers.warnings(), *rooms.networks.warnings(), *rooms.volumes.warnings()]
    document: dict[str, Any] = {
        "ID": _identity(str(rooms.settings.data)),
        "Containers": len(containers),
        "ContainersRunning": sum(state.running and not state.paused for state in states),
        "ContainersPaused": sum(state.paused for state in states),
        "ContainersStopped": sum(not state.running for state in states),
        "Images": len(rooms.images.list()),
        "Driver": "overlayfs",
        "DriverStatus": [["Backing store", "OCI image layout"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        **limits.info(rooms.containers.limits.host),
        "IPv4Forwarding": forwards,
        "Debug": False,
        "NFd": host.open_files(),
        "NGoroutines": 0,
        "SystemTime": times.rfc3339_ns(time.time_ns()),
        "LoggingDriver": "json-file",
        "NEventsListener": rooms.events.readers,
        "KernelVersion": os.uname().release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": platform.system().lower(),
        "Architecture": os.uname().machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries,
        "NCPU": host.cpus(),
        "MemTotal": host.memory_bytes(),
        "GenericResources": None,
        "DockerRootDir": str(rooms.settings.data),
        **{name: _proxy(name) for name in ("HttpProxy", "HttpsProxy", "NoProxy")},
        "Name": os.uname().nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {"dosirak": {"path": "dosirak runtime"}},
        "DefaultRuntime": "dosirak",
        "Swarm": _NO_SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "docker-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": [
            *(["name=apparmor"] if rooms.containers.apparmor else []),
            *(["name=seccomp,profile=builtin"] if rooms.containers.seccomp else []),
            *(["name=rootless"] if privilege.here().confined else []),
            "name=cgroupns",
        ],
        "FirewallBackend": {"Driver": "nftables"},
        "CDISpecDirs": [],
        "Warnings": warnings or None,
    }
    return reply.json(_of_version(document, call.version))


def _proxy(name: str) -> str:
    """A proxy of the environment ("HttpProxy": HTTP_PROXY, http_proxy), without the password that may be in it."""
    variable = f"{name.removesuffix('Proxy')}_PROXY".upper()
    found = os.environ.get(variable) or os.environ.get(variable.lower()) or ""
    scheme, separator, rest = found.rpartition("://")
    return f"{scheme}{separator}xxxxx:xxxxx@{rest.rpartition('@')[2]}" if "@" in rest else found


def _of_version(document: dict[str, Any], version: Version) -> dict[str, Any]:
    """`GET /info` with what older versions had and newer ones have (moby, api/server/router/system)."""
    if version < (1, 50):
        document |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if version < (1, 49):
        del document["FirewallBackend"]
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            document[name] = {**document[name], "Expected": document[name]["ID"]}
        document["RegistryConfig"] |= {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
        }
    if version < (1, 25):
        document["SecurityOptions"] = [option.partition("name=")[2] for option in document["SecurityOptions"]]
    return document


_NO_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _identity(root: str) -> str:
    """A stable id of this machine's engine of this root, in the form Docker's have (a UUID)."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            machine = file.read().strip()
    except OSError:
        machine = os.uname().nodename
    digest = hashlib.sha256(f"{machine} {root}".encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


_DISK_OBJECTS = frozenset(("container", "image", "volume", "build-cache"))


async def disk_usage(call: Call) -> StreamResponse:
    """`GET /system/df`."""
    wanted = (set(call.texts("type")) if call.version >= (1, 42) else None) or _DISK_OBJECTS
    for name in wanted - _DISK_OBJECTS:
        raise InvalidRequest(f"unknown object type: {name}")
    document: dict[str, Any] = {}
    if "image" in wanted:
        users, shared = call.rooms.containers.using_image, call.rooms.images.shared_sizes()
        images = [
            image_view.summary(call, image, shared=shared[image.id]) | {"Containers": len(users(image.id))}
            for image in call.rooms.images.list()
        ]
        document |= {"LayersSize": call.rooms.images.total_size(), "Images": images}
    if "container" in wanted:
        found = call.rooms.containers.list(all=True)
        linked = call.rooms.containers.networking.link_names()
        document["Containers"] = [
            await container_view.summary(call, container, size=True, linked=linked.get(container.id, ()))
            for container in found
        ]
    if "volume" in wanted:
        document["Volumes"] = await volumes.documents(call)
    if "build-cache" in wanted:
        document["BuildCache"] = [_cache_record(usage) for usage in await call.rooms.builder.usage()]
    if call.version < (1, 42):
        document["BuilderSize"] = sum(usage.size for usage in await call.rooms.builder.usage() if not usage.shared)
    return reply.json(document)


def _cache_record(usage: Usage) -> dict[str, Any]:
    return {
        "ID": usage.id,
        "Type": usage.kind,
        "Description": usage.description,
        "InUse": usage.in_use,
        "Shared": usage.shared,
        "Size": usage.size,
        "CreatedAt": times.rfc3339(usage.created),
        "LastUsedAt": times.rfc3339(usage.used),
        "UsageCount": usage.uses,
    }


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", disk_usage),
)
