"""`/dosirak/registries`: private registries over this engine's store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.registry.serving import Served


async def listing(call: Call) -> StreamResponse:
    """`GET /dosirak/registries`: what is served."""
    return reply.json([_document(one) for one in call.rooms.registry().serving.list()])


async def start(call: Call) -> StreamResponse:
    """`POST /dosirak/registries`: serve the store as a registry."""
    from dosirak.engine.registry.serving import Wanted

    wanted = await call.json(Wanted) or Wanted()
    return reply.json(_document(await call.rooms.registry().serving.start(wanted)), 201)


async def stop(call: Call) -> StreamResponse:
    """`DELETE /dosirak/registries/{address}`."""
    await call.rooms.registry().serving.stop(call.vars["name"])
    return reply.empty(204)


def _document(one: Served) -> dict[str, Any]:
    return {"Address": one.address, "ReadOnly": one.read_only, "User": one.user, "TLS": one.tls}


ROUTES = (
    Route("GET", "/dosirak/registries", listing),
    Route("POST", "/dosirak/registries", start),
    Route("DELETE", "/dosirak/registries/{name}", stop),
)
