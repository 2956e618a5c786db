"""Blobs on their way to a registry: taken over from another repository there, or sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor
from dosirak.engine.registry import errors
from dosirak.engine.registry.client import query
from dosirak.engine.registry.retries import retried

if TYPE_CHECKING:
    from dosirak.engine.registry.client import Client


async def mount(client: Client, digest: str, repository: str) -> str:
    """Takes the blob over from another repository of the registry: "" if it did, else where to upload it.

    Raises RegistryError, Unreachable, Unauthorized.
    """
    scope = f"repository:{repository}:pull"
    if scope not in client.connection.scopes:
        client.connection.scopes.append(scope)
    return await _begin(client, query(_uploads(client), mount=digest, **{"from": repository}))


async def begin(client: Client) -> str:
    """Begins an upload: where it goes. Raises RegistryError, Unreachable, Unauthorized."""
    return await _begin(client, _uploads(client))


def _uploads(client: Client) -> str:
    return f"{client.repository}/blobs/uploads/"


async def _begin(client: Client, path: str) -> str:
    async def post() -> str:
        async with client.connection.ask("POST", path, headers={"Content-Length": "0"}) as answer:
            if answer.status == 201:
                return ""
            place = answer.headers.get("Location", "")
            if not place:
                raise errors.Unreachable(f"{client.connection.host}: an upload without a place")
            return place

    return await retried(post)


async def send(client: Client, place: str, blob: Descriptor, pieces: AsyncIterator[bytes]) -> None:
    """The whole blob in one request. Raises RegistryError, Unreachable, Unauthorized."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
    data = pieces if blob.size else b""
    async with client.connection.ask("PUT", query(place, digest=blob.digest), headers=headers, data=data):
        pass
