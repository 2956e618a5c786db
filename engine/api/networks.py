"""`/networks`: create, list, inspect, connect, disconnect, prune, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.containers import EndpointSettings, wire
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.networks.model import CreateRequest, Network, Six

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


class _Connect(msgspec.Struct, rename="pascal"):
    container: str = ""
    endpoint_config: dict[str, Any] | None = None


class _Disconnect(msgspec.Struct, rename="pascal"):
    container: str = ""
    force: bool = False


async def networks(call: Call) -> StreamResponse:
    """`GET /networks`: without the containers, as Docker leaves them out of lists."""
    found = call.rooms.networks.select(call.filters())
    return reply.json([document(network, {}) for network in found])


async def network(call: Call) -> StreamResponse:
    """`GET /networks/{id}`."""
    found = call.rooms.networks.inspect(call.vars["id"])
    if call.text("scope") not in ("", found.scope):
        raise NotFound(f"network {call.vars['id']} not found")
    containers = {
        endpoint.container: {
            "Name": endpoint.name,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": f"{endpoint.ip}/{endpoint.prefix}" if endpoint.ip else "",
            "IPv6Address": f"{endpoint.ip6}/{endpoint.prefix6}" if endpoint.ip6 else "",
        }
        for endpoint in found.endpoints
    }
    return reply.json(document(found, containers))


def document(network: Network, containers: dict[str, Any]) -> dict[str, Any]:
    """A network as Docker shows it."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": times.rfc3339(network.created),
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": network.ipam_options if network.bridge else None,
            "Config": _config(network),
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.template is not None,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    }


def _config(network: Network) -> list[dict[str, Any]] | None:
    if network.template:
        asked = (network.template.ipam.config if network.template.ipam else None) or []
        return [{key: value for key, value in msgspec.to_builtins(pool).items() if value} for pool in asked]
    if not network.subnet:
        return None if network.driver != "bridge" else []
    return [_pool(side) for side in (network, network.six) if side]


def _pool(side: Network | Six) -> dict[str, Any]:
    pool: dict[str, Any] = {"Subnet": side.subnet}
    if side.ip_range:
        pool["IPRange"] = side.ip_range
    pool["Gateway"] = side.gateway
    if side.reserved:
        pool["AuxiliaryAddresses"] = side.reserved
    return pool


async def create(call: Call) -> StreamResponse:
    """`POST /networks/create`."""
    request = await call.json(CreateRequest)
    if request is None:
        raise InvalidRequest("invalid JSON: got EOF while reading request body")
    if call.version < (1, 48):
        request = msgspec.structs.replace(request, enable_ipv4=None)
    made = await call.rooms.networks.create(request)
    return reply.json({"Id": made.id, "Warning": ""}, 201)


async def remove(call: Call) -> StreamResponse:
    """`DELETE /networks/{id}`."""
    await call.rooms.networks.remove(call.vars["id"])
    return reply.empty()


async def connect(call: Call) -> StreamResponse:
    """`POST /networks/{id}/connect`."""
    body = await call.json(_Connect)
    if body is None:
        raise InvalidRequest("invalid JSON: got EOF while reading request body")
    settings, _ = wire.parse(EndpointSettings, body.endpoint_config or {})
    await call.rooms.containers.networking.connect(body.container, call.vars["id"], settings)
    return reply.empty(200)


async def disconnect(call: Call) -> StreamResponse:
    """`POST /networks/{id}/disconnect`."""
    body = await call.json(_Disconnect)
    if body is None:
        raise InvalidRequest("invalid JSON: got EOF while reading request body")
    await call.rooms.containers.networking.disconnect(body.container, call.vars["id"], force=body.force)
    return reply.empty(200)


async def prune(call: Call) -> StreamResponse:
    """`POST /networks/prune`."""
    return reply.json({"NetworksDeleted": await call.rooms.networks.prune(call.filters()) or None})


ROUTES = (
    Route("GET", "/networks", networks),
    Route("GET", "/networks/", networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
    Route("GET", "/networks/{id}", network),
    Route("DELETE", "/networks/{id}", remove),
)
