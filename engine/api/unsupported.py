"""What Docker's API has and this engine does not (yet): each with a clear line, never a silent ignore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dosirak.engine.api import reply
from dosirak.engine.api.router import Handler, Route
from dosirak.engine.errors import NotFound, NotSupported, Unavailable

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


def _not_yet(what: str) -> Handler:
    async def handler(call: Call) -> StreamResponse:
        raise NotSupported(f"{what} is not supported by this engine yet")

    return handler


async def _no_swarm(call: Call) -> StreamResponse:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to'
        " swarm and try again."
    )


async def _no_plugins(call: Call) -> StreamResponse:
    return reply.json([])


async def _no_such_plugin(call: Call) -> StreamResponse:
    # `docker inspect NAME` asks for every kind of thing in turn.
    raise NotFound(f'plugin "{call.vars["name"]}" not found')


_NOT_YET = (
    ("GET", "/containers/{name}/checkpoints", "docker checkpoint"),
    ("POST", "/containers/{name}/checkpoints", "docker checkpoint"),
    ("POST", "/build/cancel", "cancelling a build by its id"),
    ("POST", "/session", "BuildKit's session (set DOCKER_BUILDKIT=0): it"),
    ("POST", "/grpc", "BuildKit's interface (set DOCKER_BUILDKIT=0): it"),
    ("PUT", "/volumes/{name}", "docker volume update"),
    ("GET", "/plugins/privileges", "docker plugin"),
    ("POST", "/plugins/{name}", "docker plugin"),
    ("GET", "/plugins/{name}", "docker plugin"),
    ("DELETE", "/plugins/{name}", "docker plugin"),
)

_SWARM = ("swarm", "nodes", "services", "tasks", "secrets", "configs")

ROUTES = (
    Route("GET", "/plugins", _no_plugins),
    Route("GET", "/plugins/{name}/json", _no_such_plugin),
    *(Route(method, pattern, _not_yet(what)) for method, pattern, what in _NOT_YET),
    *(
        Route(method, pattern, _no_swarm)
        for subject in _SWARM
        for method in ("GET", "POST", "DELETE")
        for pattern in (f"/{subject}", f"/{subject}/{{rest}}")
    ),
)
