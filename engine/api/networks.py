"""`/networks`: list and inspect. Creating and connecting come with the networks' own issue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.networks.model import PREDEFINED
from dosirak.engine.state import check_filters
from dosirak.engine.state import filters as match

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.networks.model import Network
    from dosirak.engine.state import Filters

_FILTERS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))


async def networks(call: Call) -> StreamResponse:
    """`GET /networks`: without the containers, as Docker leaves them out of lists."""
    filters = call.filters()
    check_filters(filters, _FILTERS)
    found = call.rooms.networks.list()
    return reply.json([document(network, {}) for network in found if _passes(filters, network)])


def _passes(filters: Filters, network: Network) -> bool:
    kind = "builtin" if network.name in PREDEFINED else "custom"
    dangling = match.boolean(filters, "dangling", default=False)
    return (
        match.exact(filters, "driver", network.driver)
        and match.exact(filters, "scope", network.scope)
        and match.exact(filters, "type", kind)
        and match.fuzzy(filters, "id", network.id)
        and match.pattern(filters, "name", network.name)
        and match.labels(filters, "label", network.labels)
        and ("dangling" not in filters or dangling == (kind == "custom" and not network.endpoints))
    )


async def network(call: Call) -> StreamResponse:
    """`GET /networks/{id}`."""
    found = call.rooms.networks.inspect(call.vars["id"])
    containers = {
        endpoint.container: {
            "Name": endpoint.name,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": f"{endpoint.ip}/{endpoint.prefix}" if endpoint.ip else "",
            "IPv6Address": "",
        }
        for endpoint in found.endpoints
    }
    return reply.json(document(found, containers))


def document(network: Network, containers: dict[str, Any]) -> dict[str, Any]:
    """A network as Docker shows it."""
    pool = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": times.rfc3339(network.created),
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": pool},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    }


ROUTES = (
    Route("GET", "/networks", networks),
    Route("GET", "/networks/", networks),
    Route("GET", "/networks/{id}", network),
)
