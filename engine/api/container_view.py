"""A container's record as Docker's JSON: the line of a list and the page of `inspect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import image_view, times
from dosirak.engine.containers import wire
from dosirak.engine.networks.model import PREDEFINED

if TYPE_CHECKING:
    from dosirak.engine.api.call import Call
    from dosirak.engine.containers import Container
    from dosirak.engine.containers.health import Health
    from dosirak.engine.containers.model import PortBinding

_LEGACY = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen"),
    *("IPv6Gateway", "MacAddress"),
)


async def summary(call: Call, container: Container, *, size: bool, linked: Sequence[str]) -> dict[str, Any]:
    """A container as `GET /containers/json` lists it; with `size` also the bytes it takes; `linked`: names that others'
    links give it."""
    rooms = call.rooms
    networks = {name: wire.dump(settings) for name, settings in rooms.containers.endpoints(container.id).items()}
    host_config: dict[str, Any] = {"NetworkMode": container.host_config.network_mode}
    if container.host_config.annotations and call.version >= (1, 46):
        host_config["Annotations"] = container.host_config.annotations
    document = {
        "Id": container.id,
        "Names": sorted(f"/{name}" for name in (container.name, *linked)),
        "Image": container.config.image,
        "ImageID": container.image,
        "Command": command(container),
        "Created": int(container.created),
        "Ports": _ports(rooms.containers.ports(container.id)),
        "Labels": container.config.labels or {},
        "State": container.state.status,
        "Status": rooms.containers.status(container),
        "HostConfig": host_config,
        "NetworkSettings": {"Networks": networks},
        "Mounts": [wire.dump(mount) for mount in container.mounts],
    }
    if container.manifest is not None and call.version >= (1, 48):
        document["ImageManifestDescriptor"] = image_view.descriptor(container.manifest)
    return document | (await _sizes(call, container) if size else {})


def command(container: Container) -> str:
    """The command line as `docker ps` shows it: arguments with blanks in quotes."""
    return " ".join([container.path, *(f"'{word}'" if " " in word else word for word in container.args)])


def _ports(published: Mapping[str, Sequence[PortBinding] | None]) -> list[dict[str, Any]]:
    ports = []
    for port, bindings in published.items():
        number, _, protocol = port.partition("/")
        if not bindings:
            ports.append({"PrivatePort": int(number), "Type": protocol})
        for binding in bindings or ():
            ports.append(
                {
                    "IP": binding.host_ip,
                    "PrivatePort": int(number),
                    "PublicPort": int(binding.host_port or 0),
                    "Type": protocol,
                }
            )
    return ports


async def inspect(call: Call, container: Container) -> dict[str, Any]:
    """A container as `GET /containers/{id}/json` shows it."""
    rooms = call.rooms
    directory = _directory(call, container)
    config = wire.dump(container.config)
    if not container.config.mac_address and (address := _own_address(container)):
        config["MacAddress"] = address
    document = {
        "Id": container.id,
        "Created": times.rfc3339(container.created),
        "Path": container.path,
        "Args": container.args,
        "State": _state(container),
        "Image": container.image,
        "ResolvConfPath": str(directory / "resolv.conf"),
        "HostnamePath": str(directory / "hostname"),
        "HostsPath": str(directory / "hosts"),
        "LogPath": container.log_path if container.host_config.log_config.type == "json-file" else "",
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": container.driver,
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": rooms.containers.apparmor_profile(container),
        "ExecIDs": rooms.containers.exec_ids(container.id) or None,
        "HostConfig": wire.dump(container.host_config) | {"Links": rooms.containers.networking.links(container)},
        "GraphDriver": {"Data": _layers(container, directory), "Name": container.driver},
        "Mounts": [wire.dump(mount) for mount in container.mounts],
        "Config": config,
        "NetworkSettings": _network_settings(call, container),
    }
    if container.manifest is not None and call.version >= (1, 48):
        document["ImageManifestDescriptor"] = image_view.descriptor(container.manifest)
    return document | (await _sizes(call, container) if call.flag("size") else {})


def _own_address(container: Container) -> str:
    """The hardware address that was asked for on the main network, where older clients look for it."""
    endpoint = container.networks.get(container.host_config.network_mode)
    return endpoint.mac_address if endpoint else ""


async def _sizes(call: Call, container: Container) -> dict[str, int]:
    """Bytes of the container's own files, and of everything it sees."""
    own, whole = await call.rooms.containers.size(container.id)
    return {"SizeRw": own, "SizeRootFs": whole}


def _directory(call: Call, container: Container) -> Path:
    return call.rooms.settings.data / "containers" / container.id


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    document = {
        "Status": state.status,
        "Running": state.running,
        "Paused": state.paused,
        "Restarting": state.restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": times.rfc3339(state.started_at),
        "FinishedAt": times.rfc3339(state.finished_at),
    }
    if state.health is not None:
        document["Health"] = _health(state.health)
    return document


def _health(health: Health) -> dict[str, Any]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": times.rfc3339(result.start),
                "End": times.rfc3339(result.end),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def _layers(container: Container, directory: Path) -> dict[str, str]:
    return {
        "LowerDir": ":".join(container.layers),
        "MergedDir": str(directory / "rootfs"),
        "UpperDir": str(directory / "upper"),
        "WorkDir": str(directory / "work"),
    }


def _network_settings(call: Call, container: Container) -> dict[str, Any]:
    rooms = call.rooms
    sandbox = rooms.networks.sandbox(container.id)
    networks = {name: wire.dump(settings) for name, settings in rooms.containers.endpoints(container.id).items()}
    ports = {
        port: [wire.dump(binding) for binding in bindings] if bindings else None
        for port, bindings in rooms.containers.ports(container.id).items()
    }
    if call.version < (1, 45):
        # Until then the short id and the host name stood among the aliases.
        for name, shown in networks.items():
            if name not in PREDEFINED:
                aliases = [*(shown["Aliases"] or ()), container.short_id, container.config.hostname]
                shown["Aliases"] = list(dict.fromkeys(aliases))
    # Up to API 1.51 the default bridge's addresses stand at the top level too.
    bridge = networks.get("bridge", {})
    legacy = {name: bridge.get(name, 0 if name.endswith("Len") else "") for name in _LEGACY}
    return {
        "Bridge": "",
        "SandboxID": sandbox.id if sandbox else "",
        # Docker names a mount of the namespace; here nothing is mounted, and this is where it can be had.
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if sandbox and container.state.pid else "",
        "Ports": ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **legacy,
        "Networks": networks,
    }
