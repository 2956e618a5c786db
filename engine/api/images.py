"""`/images`: list, inspect, history, tag, delete, load, save, import, pull."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from dosirak.engine.api import image_view, registry, reply
from dosirak.engine.api.progress import bar
from dosirak.engine.api.router import Route
from dosirak.engine.content import Platform
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.images import parse, platforms

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.api.versions import Version
    from dosirak.engine.images import Image
    from dosirak.engine.images.model import Removed
    from dosirak.engine.registry.download import Download

_OFTEN = 0.1
"""Seconds between two lines of a progress."""


async def listing(call: Call) -> StreamResponse:
    """`GET /images/json`."""
    filters = call.filters()
    if (pattern := call.text("filter")) and call.version < (1, 41):
        filters.setdefault("reference", []).append(pattern)
    images = call.rooms.images.list(filters, all=call.flag("all"))
    shared = call.rooms.images.shared_sizes() if call.flag("shared-size") and call.version >= (1, 42) else {}
    manifests = call.flag("manifests")
    return reply.json(
        [image_view.summary(call, image, shared=shared.get(image.id, -1), manifests=manifests) for image in images]
    )


async def _resolve(call: Call, name: str, since: Version) -> Image:
    """The image asked for; `platform` (a parameter since that version) must be its own, the store has no other.

    Raises NotFound in Docker's words, InvalidRequest for a platform that is none.
    """
    image = await call.rooms.images.resolve(name)
    platform = _platform(call, since)
    if platform is not None and not platforms.fits(image.config.platform, platform):
        raise NotFound(
            f"image with reference {name} was found but does not provide the specified platform ({platform})"
        )
    return image


def _platform(call: Call, since: Version) -> Platform | None:
    """The parameter `platform`, a JSON document since that version. Raises InvalidRequest."""
    given = call.texts("platform") if call.version >= since else []
    if len(given) > 1:
        raise InvalidRequest("multiple platform parameters not supported")
    return call.parse_json(given[0], Platform, "invalid platform") if given and given[0] else None


async def inspect(call: Call) -> StreamResponse:
    """`GET /images/{name}/json`."""
    manifests = call.flag("manifests")
    if manifests and call.text("platform") and call.version >= (1, 49):
        raise InvalidRequest("conflicting options: manifests and platform options cannot both be set")
    image = await _resolve(call, call.vars["name"], since=(1, 49))
    lower = await call.rooms.images.lower_dirs(image)
    return reply.json(image_view.inspect(call, image, lower, manifests=manifests))


async def history(call: Call) -> StreamResponse:
    """`GET /images/{name}/history`."""
    return reply.json(image_view.history(call, await _resolve(call, call.vars["name"], since=(1, 48))))


async def remove(call: Call) -> StreamResponse:
    """`DELETE /images/{name}`. `noprune` spares what it was committed from and nobody names."""
    name = call.vars["name"]
    if not name.strip():
        raise InvalidRequest("image name cannot be blank")
    removed = await call.rooms.images.remove(name, force=call.flag("force"), prune=not call.flag("noprune"))
    return reply.json(_removals(removed))


def _removals(removed: Sequence[Removed]) -> list[dict[str, str]]:
    return [{"Untagged": item.untagged} if item.untagged else {"Deleted": item.deleted} for item in removed]


async def prune(call: Call) -> StreamResponse:
    """`POST /images/prune`."""
    removed, reclaimed = await call.rooms.images.prune(call.filters())
    return reply.json({"ImagesDeleted": _removals(removed) or None, "SpaceReclaimed": reclaimed})


async def tag(call: Call) -> StreamResponse:
    """`POST /images/{name}/tag`."""
    name = named(call.text("repo"), call.text("tag"))
    if not name:
        raise InvalidRequest("invalid reference format: the repository's name is missing")
    await call.rooms.images.tag(call.vars["name"], name)
    return reply.empty(201)


def named(repository: str, tag: str) -> str:
    """The query's `repo` and `tag` as one name; "" without a repository. Raises InvalidRequest in Docker's words."""
    if not repository:
        return ""
    if parse(repository).digest:
        raise InvalidRequest("refusing to create a tag with a digest reference")
    return f"{repository}:{tag}" if tag else repository


async def load(call: Call) -> StreamResponse:
    """`POST /images/load`: an archive in, a line for each image out."""
    platform = _platform(call, since=(1, 48))
    call.connection.end_with_client()
    response: StreamResponse | None = None
    lines = call.rooms.images.load(call.body(), platform)
    try:
        async for line in lines:
            if response is None:
                response = await reply.stream(call)
            await response.write(reply.encode({"stream": line}))
    except EngineError as error:
        if response is None:
            raise
        await _fail(response, error)
    return reply.empty(200) if response is None else response


async def save(call: Call) -> StreamResponse:
    """`GET /images/get?names=…`, `GET /images/{name}/get`."""
    name = call.vars.get("name")
    names = [name] if name else call.texts("names")
    if not names:
        raise InvalidRequest("no images to save: the parameter names is missing")
    if _platform(call, since=(1, 48)) is not None:
        for wanted in names:
            await _resolve(call, wanted, since=(1, 48))
    pieces = call.rooms.images.save(names)
    first = await anext(pieces)  # a name that is not there is said before the head
    response = await reply.stream(call, "application/x-tar")
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    return response


async def create(call: Call) -> StreamResponse:
    """`POST /images/create`: pull (`fromImage`) or import (`fromSrc`)."""
    if call.text("fromImage"):
        return await registry.pull(call)
    source = call.text("fromSrc")
    call.connection.end_with_client()
    if source != "-":
        async with call.rooms.registry().download(source) as found:
            response = await reply.stream(call)
            await response.write(reply.encode({"status": f"Downloading from {found.url}"}))
            return await _import(call, _told(found, response), found.url, response)
    return await _import(call, call.body(), source, None)


async def _import(
    call: Call, body: AsyncIterable[bytes], source: str, response: StreamResponse | None
) -> StreamResponse:
    """Makes an image of a root filesystem's tar; `response`: where the stream has begun already."""
    try:
        image = await call.rooms.images.import_(
            body,
            named(call.text("repo"), call.text("tag")),
            changes=call.texts("changes"),
            message=call.text("message") or f"Imported from {source}",
            platform=_made_for(call.text("platform")) if call.version >= (1, 32) else None,
        )
    except EngineError as error:
        if response is None:
            raise
        await _fail(response, error)
        return response
    response = response or await reply.stream(call)
    await response.write(reply.encode({"status": image.id}))
    return response


def _made_for(text: str) -> Platform | None:
    """What an imported root filesystem is made for. Raises InvalidRequest."""
    platform = platforms.parse(text)
    if platform is not None and platform.os != "linux":
        raise InvalidRequest("operating system is not supported")
    return platform


async def _told(found: Download, response: StreamResponse) -> AsyncIterator[bytes]:
    """A download's body, its progress told meanwhile."""
    current, said = 0, 0.0
    async for piece in found.body:
        current += len(piece)
        if (now := time.monotonic()) - said > _OFTEN or current == found.size:
            said = now
            detail = {"current": current, **({"total": found.size} if found.size else {})}
            line = {"status": "Importing", "progressDetail": detail, "progress": bar(current, found.size)}
            await response.write(reply.encode(line))
        yield piece


async def _fail(response: StreamResponse, error: EngineError) -> None:
    """A failure after the stream has begun: its last message."""
    detail: dict[str, Any] = {"errorDetail": {"message": error.message}, "error": error.message}
    await response.write(reply.encode(detail))


ROUTES = (
    Route("GET", "/images/json", listing),
    Route("GET", "/images/get", save),
    Route("GET", "/images/{name}/get", save),
    Route("GET", "/images/{name}/history", history),
    Route("GET", "/images/{name}/json", inspect),
    Route("POST", "/images/load", load),
    Route("POST", "/images/create", create),
    Route("POST", "/images/prune", prune, since=(1, 25)),
    Route("POST", "/images/{name}/tag", tag),
    Route("DELETE", "/images/{name}", remove),
)
