"""Registries: pull, push, `/distribution`, `/auth`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import reply
from dosirak.engine.api.progress import line
from dosirak.engine.api.router import Route
from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.images import Reference, parse, platforms

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.registry import Credentials, Message, Tell


async def pull(call: Call) -> StreamResponse:
    """`POST /images/create?fromImage=…&tag=…`: a stream of progress."""
    wanted = _reference(call.text("fromImage"), call.text("tag"))
    platform = platforms.parse(call.text("platform"))
    known = _credentials(call)
    registry = call.rooms.registry()

    async def work(tell: Tell) -> None:
        # Without a tag or digest all are meant: clients add "latest" themselves.
        pulling = registry.pull if wanted.tag or wanted.digest else registry.pull_all
        await pulling(wanted, tell, platform=platform, credentials=known)

    return await _streamed(call, work)


async def push(call: Call) -> StreamResponse:
    """`POST /images/{name}/push?tag=…`: a stream of progress."""
    named = parse(call.vars["name"])
    if named.digest:
        raise InvalidRequest("cannot push a digest reference")
    wanted = replace(named, tag=call.text("tag") or named.tag)
    known = _credentials(call)
    registry = call.rooms.registry()

    async def work(tell: Tell) -> None:
        await registry.push(parse(str(wanted)), tell, credentials=known)

    return await _streamed(call, work)


async def distribution(call: Call) -> StreamResponse:
    """`GET /distribution/{name}/json`."""
    known = _credentials(call)
    found, platforms = await call.rooms.registry().look(parse(call.vars["name"]), known)
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return reply.json({"Descriptor": descriptor, "Platforms": [msgspec.to_builtins(one) for one in platforms]})


async def manifest(call: Call) -> StreamResponse:
    """`GET /dosirak/manifests/{name}`: the manifest or index a registry has under a name, as it is."""
    found, data = await call.rooms.registry().manifest(parse(call.vars["name"]), _credentials(call))
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return reply.json({"Descriptor": descriptor, "Raw": base64.b64encode(data).decode()})


async def search(call: Call) -> StreamResponse:
    """`GET /images/search?term=…`."""
    limit = call.integer("limit") or 0
    hits = await call.rooms.registry().search(call.text("term"), limit, call.filters(), _credentials(call))
    return reply.json([msgspec.to_builtins(hit) for hit in hits])


def configured(data: Path) -> tuple[dict[str, Any], list[str]]:
    """`RegistryConfig` of `GET /info`: what is configured for registries; and a warning where that can't be read.

    Blocking.
    """
    from dosirak.engine.registry import configuration, hosts

    warnings = []
    try:
        known = configuration.read(data)
    except InvalidRequest as error:
        known = configuration.Registries()
        warnings.append(f"WARNING: No registry can be asked: {error.message}")
    networks = [one for one in known.insecure if "/" in one]
    names = {hosts.HUB, *known.mirrors, *(one for one in known.insecure if "/" not in one)}
    indexes = {
        name: {
            "Name": name,
            "Mirrors": [f"{mirror.rstrip('/')}/" for mirror in known.mirrors.get(name, ())],
            "Secure": not hosts.is_insecure(name, known.insecure),
            "Official": name == hosts.HUB,
        }
        for name in sorted(names)
    }
    document = {
        "IndexConfigs": indexes,
        "InsecureRegistryCIDRs": [*hosts.LOOPBACK, *networks],
        "Mirrors": indexes[hosts.HUB]["Mirrors"] or None,
    }
    return document, warnings


async def auth(call: Call) -> StreamResponse:
    """`POST /auth`: whether a registry takes these credentials."""
    from dosirak.engine.registry import Credentials

    given = await call.json(Credentials)
    if not given:
        raise InvalidRequest("invalid credentials: neither a user name nor a token")
    identity = await call.rooms.registry().login(given)
    return reply.json({"Status": "Login Succeeded", "IdentityToken": identity})


def _credentials(call: Call) -> Credentials:
    from dosirak.engine.registry.credentials import decode

    return decode(call.request.headers.get("X-Registry-Auth", ""))


def _reference(name: str, tag: str) -> Reference:
    """The image of `fromImage` and `tag`, which may be a digest. Raises InvalidRequest."""
    found = parse(name.removesuffix(":"))
    if ":" in tag:
        return parse(f"{found.name}@{tag}")
    if tag:
        return parse(f"{found.name}:{tag}")
    # With both, the digest says what it is.
    return replace(found, tag="") if found.digest else found


async def _streamed(call: Call, work: Callable[[Tell], Awaitable[None]]) -> StreamResponse:
    """What `work` tells, as it comes. An error before the first message is an HTTP error, later the last message."""
    call.connection.end_with_client()
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    working = asyncio.ensure_future(work(messages.put_nowait))
    working.add_done_callback(lambda _: messages.put_nowait(None))
    try:
        message = await messages.get()
        if message is None:
            working.result()
        response = await reply.stream(call)
        while message is not None:
            lines = [line(message)]
            # What has come meanwhile goes out in the same write.
            while not messages.empty() and (message := messages.get_nowait()) is not None:
                lines.append(line(message))
            await response.write(b"".join(map(reply.encode, lines)))
            if message is not None:
                message = await messages.get()
        try:
            await working
        except EngineError as error:
            detail: dict[str, Any] = {"errorDetail": {"message": error.message}, "error": error.message}
            await response.write(reply.encode(detail))
        return response
    finally:
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineError):
                await working


ROUTES = (
    Route("POST", "/images/{name}/push", push),
    Route("GET", "/distribution/{name}/json", distribution, since=(1, 30)),
    Route("GET", "/images/search", search),
    Route("GET", "/dosirak/manifests/{name}", manifest),
    Route("POST", "/auth", auth),
)
