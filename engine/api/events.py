"""`/events`: the engine's events as a stream of JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.state import Event


async def events(call: Call) -> StreamResponse:
    """`GET /events`."""
    since, until = (times.parse_ns(call.text(name), name) for name in ("since", "until"))
    if since is not None and until is not None and until < since:
        raise InvalidRequest(f"`since` time ({call.text('since')}) cannot be after `until` time ({call.text('until')})")
    subscription = call.rooms.events.subscribe(since, until, call.filters())
    async with subscription:
        response = await reply.stream(call)
        async for event in subscription:
            if call.version < (1, 46) and event.type == "image" and event.action == "create":
                continue
            await response.write(reply.encode(_document(event)))
    return response


def _document(event: Event) -> dict[str, Any]:
    """An event with the fields of API 1.21 and before, which clients up to the CLI 25 need."""
    legacy: dict[str, str] = {}
    if event.type in ("container", "image"):
        legacy = {"status": event.action, "id": event.id}
    if event.type == "container":
        legacy["from"] = event.attributes.get("image", "")
    return {
        **legacy,
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": event.scope,
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }


ROUTES = (Route("GET", "/events", events, watches=True),)
