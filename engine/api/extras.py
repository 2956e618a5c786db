"""`/dosirak/…`: what Docker's API has no words for: the live topology, a container's namespaces, an image's layers
(`layers`)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import host, layers, reply
from dosirak.engine.api.router import Route
from dosirak.engine.errors import Conflict

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.containers import Container
    from dosirak.engine.networks.model import Endpoint, Network

_NAMESPACES = ("mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time")
_INODE = re.compile(r"\w+:\[(\d+)\]")


async def topology(call: Call) -> StreamResponse:
    """`GET /dosirak/topology`: host, networks with their endpoints, containers: all that one picture shows."""
    rooms = call.rooms
    return reply.json(
        {
            "host": {
                "name": os.uname().nodename,
                "kernel": os.uname().release,
                "system": host.os_release().get("PRETTY_NAME", "Linux"),
                "cpus": host.cpus(),
                "memory": host.memory_bytes(),
                "root": str(rooms.settings.data),
            },
            "networks": [_network(network) for network in rooms.networks.list()],
            "containers": [_container(call, container) for container in rooms.containers.list(all=True)],
        }
    )


def _network(network: Network) -> dict[str, Any]:
    return {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "bridge": network.bridge,
        "subnet": network.subnet,
        "gateway": network.gateway,
        "endpoints": [_endpoint(endpoint) for endpoint in network.endpoints],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "container": endpoint.container,
        "name": endpoint.name,
        "veth": endpoint.interface,
        "interface": endpoint.inner,
        "ip": endpoint.ip,
        "mac": endpoint.mac,
        "ports": [
            {
                "container_port": port.container_port,
                "protocol": port.protocol,
                "host_ip": port.host_ip,
                "host_port": port.host_port,
            }
            for port in endpoint.ports
        ],
    }


def _container(call: Call, container: Container) -> dict[str, Any]:
    containers = call.rooms.containers
    return {
        "id": container.id,
        "name": container.name,
        "image": container.config.image,
        "state": container.state.status,
        "status": containers.status(container),
        "pid": container.state.pid,
        "networks": sorted(containers.endpoints(container.id)),
        "ports": {
            port: [{"host_ip": binding.host_ip, "host_port": binding.host_port} for binding in bindings or ()]
            for port, bindings in containers.ports(container.id).items()
        },
    }


async def namespaces(call: Call) -> StreamResponse:
    """`GET /dosirak/containers/{name}/namespaces`: the container's eight namespaces beside the engine's.

    A namespace is named by its inode; `own` says whether the container has one of its own.
    """
    container = call.rooms.containers.get(call.vars["name"])
    if not container.state.running:
        raise Conflict(f"container {container.id} is not running")
    inside, outside = _namespaces_of(container.state.pid), _namespaces_of("self")
    return reply.json(
        {
            "id": container.id,
            "name": container.name,
            "pid": container.state.pid,
            "namespaces": [
                {
                    "type": kind,
                    "inode": inside[kind],
                    "host": outside.get(kind, 0),
                    "own": inside[kind] != outside.get(kind),
                }
                for kind in _NAMESPACES
                if kind in inside
            ],
        }
    )


def _namespaces_of(pid: int | str) -> dict[str, int]:
    """Namespace type → inode, from /proc/PID/ns, namespaces(7); without those that can't be read."""
    found = {}
    for kind in _NAMESPACES:
        try:
            link = _INODE.fullmatch(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
        except OSError:
            continue
        if link is not None:
            found[kind] = int(link[1])
    return found


ROUTES = (
    Route("GET", "/dosirak/topology", topology),
    Route("GET", "/dosirak/containers/{name}/namespaces", namespaces),
    Route("GET", "/dosirak/images/{name}/layers", layers.layers),
    Route("GET", "/dosirak/images/{name}/layers/{number}/files", layers.files),
)
