"""One repository of a registry: its manifests, its tags, and what is put there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.content import Descriptor, media_types
from dosirak.engine.content.digests import digest_of
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents
from dosirak.engine.registry import errors
from dosirak.engine.registry.connection import Connection
from dosirak.engine.registry.paging import pages
from dosirak.engine.registry.retries import TRIES, retried

if TYPE_CHECKING:
    from dosirak.engine.registry.credentials import Credentials
    from dosirak.engine.registry.hosts import Endpoint
    from dosirak.engine.registry.transport import Transport

_ACCEPT = ", ".join(
    (
        media_types.INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        media_types.MANIFEST,
        "application/vnd.docker.distribution.manifest.v2+json",
        "*/*",
    )
)
_MAX_TAGS = 100_000
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class _Tags(msgspec.Struct):
    """The answer of `tags/list` (distribution spec, "Listing tags")."""

    tags: list[str] | None = None


class Client:
    """Speaks to `endpoint` about `repository` ("library/busybox"); `actions`: "pull" or "pull,push".

    `tries`: how often in a row something is asked for.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        repository: str,
        credentials: Credentials,
        actions: str = "pull",
        tries: int = TRIES,
    ) -> None:
        self.repository = repository
        self.connection = Connection(transport, endpoint, credentials, [f"repository:{repository}:{actions}"], tries)

    async def tags(self) -> list[str]:
        """Every tag of the repository that is one. Raises RegistryError, Unreachable, InvalidRequest."""
        found: list[str] = []
        async for page in pages(self.connection, f"{self.repository}/tags/list"):
            found += documents.decode(page, _Tags, "list of tags").tags or ()
            if len(found) > _MAX_TAGS:
                break
        return [tag for tag in dict.fromkeys(found) if _TAG.fullmatch(tag)]

    async def manifest(self, which: str, descriptor: Descriptor | None = None) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest: what it is, and its bytes, verified against the digest and descriptor.

        Raises RegistryError, Unreachable, InvalidRequest.
        """
        path = f"{self.repository}/manifests/{which}"
        headers, data = await self.connection.get(path, documents.MAX_MANIFEST, _ACCEPT)
        media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        found = Descriptor(media_type, digest_of(data), len(data))
        if which.startswith("sha256:") and found.digest != which:
            raise errors.Corrupted(f"manifest verification failed for digest {which}")
        if descriptor is not None and descriptor.size != found.size:
            raise InvalidRequest(f"manifest {which} has {found.size} bytes, not {descriptor.size}")
        return found, data

    async def put_manifest(self, tag: str, data: bytes, descriptor: Descriptor) -> None:
        """Puts a manifest under a tag. Raises RegistryError, Unreachable, Unauthorized."""
        headers = {"Content-Type": descriptor.media_type}

        async def put() -> None:
            path = f"{self.repository}/manifests/{tag}"
            async with self.connection.ask("PUT", path, headers=headers, data=data, again=True):
                pass

        await retried(put)

    async def has(self, digest: str) -> bool:
        """Whether the repository has the blob. Raises RegistryError, Unreachable, Unauthorized."""

        async def look() -> bool:
            try:
                async with self.connection.ask("HEAD", f"{self.repository}/blobs/{digest}"):
                    return True
            except errors.RegistryError as error:
                if error.http_status != 404:
                    raise
                return False

        return await retried(look)
