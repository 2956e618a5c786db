"""`/dosirak/build/check`: what the build checks say to a Dockerfile, which Docker's API has no place for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call


class _Document(msgspec.Struct, rename="pascal"):
    dockerfile: str
    filename: str = "Dockerfile"
    args: dict[str, str | None] = {}
    target: str = ""
    ignored: str = ""


async def check(call: Call) -> StreamResponse:
    """`POST /dosirak/build/check`: a Dockerfile's text, what it is built with and the text of its `.dockerignore`.

    What stands in the file is never an error of the request: the answer holds `Warnings`, and in `Error` what a
    build would end with before its first step.
    """
    asked = await call.json(_Document)
    if asked is None:
        raise InvalidRequest("no Dockerfile given")
    builder = call.rooms.builder
    return reply.json(await builder.check(asked.dockerfile, asked.filename, asked.args, asked.target, asked.ignored))


ROUTES = (Route("POST", "/dosirak/build/check", check),)
