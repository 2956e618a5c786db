"""Blobs on their way to a registry: taken over from another repository there, or sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from dosirak.engine.content import Descriptor
from dosirak.engine.registry import errors
from dosirak.engine.registry.retries import retried

if TYPE_CHECKING:
    from dosirak.engine.registry.client import Client

Read = Callable[[int, int], AsyncIterator[bytes]]
"""A blob's bytes from a place on, so many of them."""

_CHUNK = 32 << 20
_MOST_CHUNK = 1 << 30
_TOO_MUCH = (405, 413)
"""What registries answer to a blob in one request when they want it in pieces."""


async def mount(client: Client, digest: str, repository: str) -> str:
    """Takes the blob over from another repository of the registry: "" if it did, else where to upload it.

    Raises RegistryError, Unreachable, Unauthorized.
    """
    scope = f"repository:{repository}:pull"
    if scope not in client.connection.scopes:
        client.connection.scopes.append(scope)
    return (await _begin(client, _query(_uploads(client), mount=digest, **{"from": repository})))[0]


def _uploads(client: Client) -> str:
    return f"{client.repository}/blobs/uploads/"


async def _begin(client: Client, path: str) -> tuple[str, int]:
    """Where an upload goes, "" if the blob is there now; and the least that the registry wants at once."""

    async def post() -> tuple[str, int]:
        async with client.connection.ask("POST", path, headers={"Content-Length": "0"}) as answer:
            if answer.status == 201:
                return "", 0
            place = answer.headers.get("Location", "")
            if not place:
                raise errors.Unreachable(f"{client.connection.host}: an upload without a place")
            least = answer.headers.get("OCI-Chunk-Min-Length", "")
            return place, int(least[:12]) if least.isascii() and least.isdigit() else 0

    return await retried(post)


async def send(client: Client, place: str, blob: Descriptor, read: Read) -> None:
    """Sends a blob, whole or in pieces as the registry takes it; begins anew when it broke off.

    Parameters: `place`: where a first upload was begun already, or "". Raises RegistryError, Unreachable, Unauthorized.
    """
    begun = [place] if place else []

    async def once() -> None:
        where = begun.pop() if begun else (await _begin(client, _uploads(client)))[0]
        await _whole(client, where, blob, read)

    try:
        await retried(once)
    except errors.RegistryError as error:
        if error.http_status not in _TOO_MUCH:
            raise
        await retried(lambda: _in_pieces(client, blob, read))


async def _whole(client: Client, place: str, blob: Descriptor, read: Read) -> None:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
    data = read(0, blob.size) if blob.size else b""
    async with client.connection.ask("PUT", _query(place, digest=blob.digest), headers=headers, data=data):
        pass


async def _in_pieces(client: Client, blob: Descriptor, read: Read) -> None:
    """As the spec's "Pushing a blob in chunks"."""
    place, least = await _begin(client, _uploads(client))
    size = max(_CHUNK, min(least, _MOST_CHUNK))
    for start in range(0, blob.size, size):
        count = min(size, blob.size - start)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(count),
            "Content-Range": f"{start}-{start + count - 1}",
        }
        async with client.connection.ask("PATCH", place, headers=headers, data=read(start, count)) as answer:
            place = answer.headers.get("Location", "") or place
    async with client.connection.ask("PUT", _query(place, digest=blob.digest), headers={"Content-Length": "0"}):
        pass


def _query(path: str, **parameters: str) -> str:
    """A path with (more of) its query."""
    return f"{path}{'&' if '?' in path else '?'}{urlencode(parameters)}"
