"""`POST /commit`: an image of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.engine.api import images, reply
from dosirak.engine.api.router import Route
from dosirak.engine.containers import ContainerConfig, wire
from dosirak.engine.containers.files import CommitRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


async def commit(call: Call) -> StreamResponse:
    """`POST /commit`: the body, if there is one, is a configuration for the image."""
    # The docker CLI says "null".
    body: dict[str, Any] | None = await call.json(dict[str, Any] | None)  # type: ignore[arg-type]
    config = wire.parse(ContainerConfig, body)[0] if body else None
    request = CommitRequest(
        name=images.named(call.text("repo"), call.text("tag")),
        author=call.text("author"),
        comment=call.text("comment"),
        changes=call.texts("changes"),
        config=config,
        pause=call.flag("pause", default=True),
    )
    image_id = await call.rooms.containers.files.commit(call.text("container"), request)
    return reply.json({"Id": image_id}, 201)


ROUTES = (Route("POST", "/commit", commit),)
