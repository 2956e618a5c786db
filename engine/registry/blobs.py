"""Blobs on their way in: resumed where a connection broke off, from whichever server has them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor
from dosirak.engine.content.digests import digest_of
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.registry import errors
from dosirak.engine.registry.retries import Tries
from dosirak.engine.registry.transport import pieces

if TYPE_CHECKING:
    import aiohttp

    from dosirak.engine.registry.client import Client

_PROGRESS = 1 << 20
"""A try that brought so many bytes begins a new row of tries."""
_RANGE = re.compile(r"bytes (\d{1,18})-")


async def small(sources: Sequence[Client], blob: Descriptor, limit: int) -> bytes:
    """A small blob (a config), verified, from the first server that has it right.

    Raises RegistryError, Unreachable, InvalidRequest.
    """
    if blob.size > limit:
        raise InvalidRequest(f"blob {blob.digest} is larger than {limit} bytes")
    for index, _ in enumerate(sources):
        data = b"".join([piece async for piece in download(sources[index:], blob)])
        if digest_of(data) == blob.digest:
            return data
    raise errors.Corrupted(f"image config verification failed for digest {blob.digest}")


async def download(
    sources: Sequence[Client], blob: Descriptor, waiting: Callable[[float], None] = lambda _: None
) -> AsyncGenerator[bytes, None]:
    """A blob's bytes, not verified, but never more than its size. Goes on where a connection broke off.

    Parameters: `sources`: who has it, asked in this order; `waiting` is told the seconds before another try.
    Raises RegistryError, Unreachable, InvalidRequest.
    """
    done = 0
    for index, source in enumerate(sources):
        try:
            async with aclosing(_from_one(source, blob, done, waiting)) as stream:
                async for piece in stream:
                    done += len(piece)
                    yield piece
            return
        except (errors.Unreachable, errors.RegistryError, errors.Unauthorized):
            if index == len(sources) - 1:
                raise


async def _from_one(
    client: Client, blob: Descriptor, done: int, waiting: Callable[[float], None]
) -> AsyncGenerator[bytes, None]:
    tries = Tries(waiting, client.connection.tries)
    while True:
        before = done
        try:
            wanted = {"Range": f"bytes={done}-"} if done else {}
            path = f"{client.repository}/blobs/{blob.digest}"
            async with client.connection.ask("GET", path, headers=wanted) as answer:
                skip = done - _beginning(answer, done)
                async for piece in pieces(answer):
                    fresh = piece[skip:]
                    skip = max(0, skip - len(piece))
                    done += len(fresh)
                    if done > blob.size:
                        raise InvalidRequest(f"blob {blob.digest} is longer than its {blob.size} bytes")
                    if fresh:
                        yield fresh
            if done == blob.size:
                return
            raise errors.Unreachable(
                f"blob {blob.digest}: unexpected EOF after {done} of {blob.size} bytes", passes=True
            )
        except (errors.Unreachable, errors.RegistryError) as error:
            if done - before >= _PROGRESS:
                tries.begin_anew()
            await tries.pause(error)


def _beginning(answer: aiohttp.ClientResponse, wanted: int) -> int:
    """At which byte of the blob an answer begins: a server need not know of ranges, and may give more than asked.

    Raises Unreachable when it begins behind what is wanted.
    """
    if answer.status != 206:
        return 0
    said = _RANGE.match(answer.headers.get("Content-Range", ""))
    start = int(said[1]) if said else wanted
    if start > wanted:
        raise errors.Unreachable(f"{answer.url.host}: another range than was asked for")
    return start
