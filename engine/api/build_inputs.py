"""`/dosirak/build/inputs`: what Docker's classic `/build` has no place for, sent ahead of it.

Secrets, ssh agents, and the context as a folder of this machine, which then need not travel. Who may speak to this
engine may mount any directory into a container: naming one here gives nobody more.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.api import reply
from dosirak.engine.api.router import Route
from dosirak.engine.build.inputs import Folder, Inputs
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call

PARAMETER = "dosirakinputs"
"""The parameter of `/build` that names what was sent ahead."""


class _Folder(msgspec.Struct, rename="pascal"):
    path: str
    device: int
    inode: int

    def here(self) -> Folder:
        return Folder(self.path, self.device, self.inode)


class _Context(msgspec.Struct, rename="pascal"):
    """A named context: an image, or a folder."""

    image: str = ""
    folder: _Folder | None = None


class _Document(msgspec.Struct, rename="pascal"):
    secrets: dict[str, bytes] = {}
    agents: dict[str, str] = {}
    context: _Folder | None = None
    dockerfile: str | None = None
    contexts: dict[str, _Context] = {}


async def put(call: Call) -> StreamResponse:
    """`POST /dosirak/build/inputs`: secrets (base64), agents' sockets by id, the context; the answer names them.

    `InPlace` tells whether the context will be read where it lies; if not, the build has to bring it as ever.
    """
    document = await call.json(_Document)
    if document is None:
        raise InvalidRequest("no inputs given")
    folder = document.context.here() if document.context is not None else None
    if folder is not None and not await asyncio.to_thread(_is_here, folder):
        folder = None
    text = document.dockerfile if folder is not None else None
    contexts = await asyncio.to_thread(_contexts, document.contexts)
    word = call.rooms.builder.offers.put(Inputs(document.secrets, document.agents, folder, text, contexts))
    return reply.json({"ID": word, "InPlace": folder is not None}, status=201)


def _contexts(given: dict[str, _Context]) -> dict[str, Folder | str]:
    contexts: dict[str, Folder | str] = {}
    for name, context in given.items():
        folder = context.folder.here() if context.folder is not None else None
        if folder is not None:
            os.close(folder.open())
        contexts[name.lower().removesuffix(":latest")] = folder or context.image
    return contexts


def _is_here(folder: Folder) -> bool:
    try:
        os.close(folder.open())
    except InvalidRequest:
        return False
    return True


def take(call: Call) -> Inputs:
    """The inputs that a build's query names. Raises NotFound."""
    word = call.text(PARAMETER)
    return call.rooms.builder.offers.take(word) if word else Inputs()


ROUTES = (Route("POST", "/dosirak/build/inputs", put),)
