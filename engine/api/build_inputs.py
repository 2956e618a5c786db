"""`/dosirak/build/inputs`: what Docker's classic `/build` has no place for, sent ahead of it: secrets, ssh agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.build.inputs import Inputs
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call

PARAMETER = "dosirakinputs"
"""The parameter of `/build` that names what was sent ahead."""


class _Document(msgspec.Struct, rename="pascal"):
    secrets: dict[str, bytes] = {}
    agents: dict[str, str] = {}


async def put(call: Call) -> StreamResponse:
    """`POST /dosirak/build/inputs`: secrets (base64) and agents' sockets by id; the answer names them for one build."""
    document = await call.json(_Document)
    if document is None:
        raise InvalidRequest("no inputs given")
    return reply.json({"ID": call.rooms.builder.offers.put(Inputs(document.secrets, document.agents))}, status=201)


def take(call: Call) -> Inputs:
    """The inputs that a build's query names. Raises NotFound."""
    word = call.text(PARAMETER)
    return call.rooms.builder.offers.take(word) if word else Inputs()


ROUTES = (Route("POST", "/dosirak/build/inputs", put),)
