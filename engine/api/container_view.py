"""A container's record as Docker's JSON: the line of a list and the page of `inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import times
from dosirak.engine.containers import wire

if TYPE_CHECKING:
    from dosirak.engine.api.call import Call
    from dosirak.engine.containers import Container

_LEGACY = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen"),
    *("IPv6Gateway", "MacAddress"),
)


async def summary(call: Call, container: Container) -> dict[str, Any]:
    """A container as `GET /containers/json` lists it."""
    rooms = call.rooms
    networks = {name: wire.dump(settings) for name, settings in rooms.containers.endpoints(container.id).items()}
    host_config: dict[str, Any] = {"NetworkMode": container.host_config.network_mode}
    if container.host_config.annotations and call.version >= (1, 46):
        host_config["Annotations"] = container.host_config.annotations
    document = {
        "Id": container.id,
        "Names": [f"/{container.name}"],
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
    if call.flag("size"):
        writable, everything = await rooms.containers.size(container.id)
        document |= {"SizeRw": writable, "SizeRootFs": everything}
    return document


def command(container: Container) -> str:
    """The command line as `docker ps` shows it: arguments with blanks in quotes."""
    return " ".join([container.path, *(f"'{word}'" if " " in word else word for word in container.args)])


def _ports(published: dict[str, Any]) -> list[dict[str, Any]]:
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
    paths = rooms.containers.paths(container.id)
    config = wire.dump(container.config)
    document = {
        "Id": container.id,
        "Created": times.rfc3339(container.created),
        "Path": container.path,
        "Args": container.args,
        "State": _state(container),
        "Image": container.image,
        "ResolvConfPath": str(paths.resolv_conf),
        "HostnamePath": str(paths.hostname),
        "HostsPath": str(paths.hosts),
        "LogPath": str(paths.log),
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": container.driver,
        "Platform": container.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": rooms.containers.exec_ids(container.id) or None,
        "HostConfig": wire.dump(container.host_config),
        "GraphDriver": {"Data": _layers(container, paths), "Name": container.driver},
        "Mounts": [wire.dump(mount) for mount in container.mounts],
        "Config": config,
        "NetworkSettings": _network_settings(call, container),
    }
    if call.flag("size"):
        writable, everything = await rooms.containers.size(container.id)
        document |= {"SizeRw": writable, "SizeRootFs": everything}
    return document


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    return {
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


def _layers(container: Container, paths: Any) -> dict[str, str]:
    return {
        "LowerDir": ":".join(container.layers),
        "MergedDir": str(paths.merged),
        "UpperDir": str(paths.upper),
        "WorkDir": str(paths.work),
    }


def _network_settings(call: Call, container: Container) -> dict[str, Any]:
    rooms = call.rooms
    sandbox = rooms.networks.sandbox(container.id)
    networks = {name: wire.dump(settings) for name, settings in rooms.containers.endpoints(container.id).items()}
    ports = {
        port: [wire.dump(binding) for binding in bindings] if bindings else None
        for port, bindings in rooms.containers.ports(container.id).items()
    }
    # Up to API 1.51 the default bridge's addresses stand at the top level too.
    bridge = networks.get("bridge", {})
    legacy = {name: bridge.get(name, 0 if name.endswith("Len") else "") for name in _LEGACY}
    return {
        "Bridge": "",
        "SandboxID": sandbox.id if sandbox else "",
        "SandboxKey": sandbox.key if sandbox else "",
        "Ports": ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **legacy,
        "Networks": networks,
    }
