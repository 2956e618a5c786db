"""What others push: uploads in one piece or in several, and the manifests that make images of them.

A blob that was uploaded stays for an hour without an image that needs it; then it is nobody's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dosirak.engine.content import Descriptor
from dosirak.engine.content.digests import digest_of
from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.images import Reference, documents, platforms
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry.pull import is_image_config
from dosirak.engine.registry.serving.model import Refused
from dosirak.engine.registry.serving.shelf import DIGEST, TAG

if TYPE_CHECKING:
    from dosirak.engine.content import BlobWriter, Store
    from dosirak.engine.images import Images
    from dosirak.engine.registry.serving.shelf import Shelf

_PATIENCE = 3600.0
"""Seconds that an upload may rest, and that an uploaded blob waits for its manifest."""
_MOST = 256
"""Uploads at a time."""
_PIECE = 1 << 20


@dataclass
class Upload:
    """One upload. `used`: when it was last written to (monotonic seconds); `busy`: a request is writing to it."""

    repository: str
    writer: BlobWriter
    closing: ExitStack
    used: float = field(default_factory=time.monotonic)
    busy: bool = False

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.writer.size


class Pushes:
    """Takes blobs and manifests. On the event loop. Raises Refused for what is wrong, HostLimit for a full disk."""

    def __init__(self, images: Images, store: Store, shelf: Shelf) -> None:
        self._images = images
        self._store = store
        self._shelf = shelf
        self._uploads: dict[str, Upload] = {}
        self._waiting: dict[str, float] = {}
        self._kept: set[str] = set()
        self._keeping = AsyncExitStack()
        self._discarding: set[asyncio.Future[None]] = set()
        self._counter = 0

    async def open(self) -> None:
        """Before anything else."""
        await self._keeping.enter_async_context(self._images.receive(self._kept))

    async def close(self) -> None:
        """Throws away what is no image yet."""
        try:
            for name in [*self._uploads]:
                self._discard(name)
        finally:
            await self._keeping.aclose()
            await asyncio.gather(*self._discarding, return_exceptions=True)
            await self._images.discard(self._kept)

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is there for a repository: an image's of its, or one that was just uploaded."""
        if not DIGEST.fullmatch(digest):
            raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        known = digest in self._waiting or digest in self._shelf.blobs(repository)
        return known and self._store.has(digest)

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Takes a blob over from another repository, if it is there."""
        if not (DIGEST.fullmatch(digest) and source and self.has(source, digest)):
            return False
        self._shelf.blobs(repository)
        self._keep(digest)
        return True

    async def begin(self, repository: str) -> str:
        """Begins an upload; its name."""
        self._shelf.blobs(repository)
        self._expire()
        if len(self._uploads) >= _MOST:
            raise Refused(429, "TOOMANYREQUESTS", "too many uploads at a time")
        closing = ExitStack()
        writer = await in_thread(closing.enter_context, self._store.writer())
        self._counter += 1
        name = f"{self._counter:x}-{writer.path.name}"
        self._uploads[name] = Upload(repository, writer, closing)
        return name

    def find(self, repository: str, name: str) -> Upload:
        """An upload that was begun."""
        found = self._uploads.get(name)
        if found is None or found.repository != repository:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return found

    def _resting(self, repository: str, name: str) -> Upload:
        """An upload that no request is writing to."""
        found = self.find(repository, name)
        if found.busy:
            raise Refused(416, "BLOB_UPLOAD_INVALID", "blob upload invalid: another request is writing to it")
        return found

    async def append(self, repository: str, name: str, start: int | None, body: AsyncIterator[bytes]) -> Upload:
        """Writes what a request brings. Parameters: `start`: which byte it begins with, if it says so."""
        upload = self._resting(repository, name)
        if start not in (None, upload.size):
            raise Refused(416, "BLOB_UPLOAD_INVALID", "blob upload invalid: not the next piece")
        upload.busy = True
        try:
            waiting = bytearray()
            async for piece in body:
                waiting += piece
                if len(waiting) >= _PIECE:
                    await in_thread(upload.writer.write, bytes(waiting))
                    waiting.clear()
            if waiting:
                await in_thread(upload.writer.write, bytes(waiting))
        except BaseException:
            # What was written of a broken piece can't be taken back.
            self._discard(name)
            raise
        finally:
            upload.busy, upload.used = False, time.monotonic()
        return upload

    async def finish(self, repository: str, name: str, digest: str) -> None:
        """The upload is whole: it must have this digest."""
        upload = self._resting(repository, name)
        if not DIGEST.fullmatch(digest) or upload.writer.digest != digest:
            self._discard(name)
            raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        # First, so that it is no garbage in between.
        self._keep(digest)
        # Nobody finds it from now on: what came behind the last look at the digest would be in the blob too.
        del self._uploads[name]
        with upload.closing:
            await in_thread(upload.writer.commit, "application/octet-stream")

    def cancel(self, repository: str, name: str) -> None:
        """Throws an upload away."""
        self._resting(repository, name)
        self._discard(name)

    async def put_manifest(self, repository: str, which: str, media_type: str, data: bytes) -> Descriptor:
        """Makes an image of what was uploaded, under a tag or its digest."""
        found = Descriptor(media_type, digest_of(data), len(data))
        by_digest = ":" in which
        if by_digest and which != found.digest:
            raise Refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        if not by_digest and not TAG.fullmatch(which):
            raise Refused(400, "TAG_INVALID", "manifest tag did not match URI")
        known = {*self._waiting, *self._shelf.blobs(repository)}
        domain = self._shelf.domain
        reference = Reference(domain, repository, "" if by_digest else which, found.digest if by_digest else "")
        # Whatever is removed meanwhile: what was looked at is still there when it gets its name.
        with self._images.hold(known):
            try:
                await in_thread(self._check, known, found, data)
            except InvalidRequest as error:
                raise Refused(400, "MANIFEST_INVALID", error.message) from error
            self._keep(found.digest)
            await in_thread(self._store.put, data, media_type)
            await self._images.record({str(reference): found}, reference, action="push")
        return found

    def _check(self, known: set[str], found: Descriptor, data: bytes) -> None:
        """Refuses what is no image, or leads to what is not there. Blocking. Parameters: `known`: who may be named."""
        document = documents.read_manifest(data)
        if document.media_type != found.media_type:
            raise InvalidRequest(f"manifest invalid: it says {document.media_type[:100]}, its sender another type")
        if isinstance(document, documents.Manifest):
            self._check_image(known, document)
            return
        # Whatever of an index is in the store counts as the image's from then on.
        stored = [one for one in document.manifests if self._store.has(one.digest)]
        for one in stored:
            inner = documents.read_manifest(self._store.read(one.digest, documents.MAX_MANIFEST))
            if one.digest not in known or not isinstance(inner, documents.Manifest):
                raise InvalidRequest(f"manifest invalid: {one.digest} is no image of this repository")
            self._check_image(known, inner)
        if platforms.choose(stored) is None:
            raise InvalidRequest(f"manifest invalid: no image for {platforms.host()} of the index was pushed")

    def _check_image(self, known: set[str], manifest: documents.Manifest) -> None:
        for blob in (manifest.config, *manifest.layers):
            if blob.digest not in known or not self._store.has(blob.digest):
                raise Refused(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {blob.digest}")
            if self._store.size(blob.digest) != blob.size:
                raise InvalidRequest(f"manifest invalid: {blob.digest} has another size")
        if not is_image_config(manifest.config):
            raise InvalidRequest("manifest invalid: this registry takes container images only")
        try:
            config = documents.read_config(self._store.read(manifest.config.digest, documents.MAX_CONFIG))
        except EngineError as error:
            raise InvalidRequest(f"manifest invalid: {error.message}") from error
        documents.check_pair(manifest, config)

    def _keep(self, digest: str) -> None:
        self._kept.add(digest)
        self._waiting[digest] = time.monotonic()

    def _expire(self) -> None:
        now = time.monotonic()
        for name in [name for name, one in self._uploads.items() if not one.busy and now - one.used > _PATIENCE]:
            self._discard(name)
        old = [digest for digest, since in self._waiting.items() if now - since > _PATIENCE]
        for digest in old:
            del self._waiting[digest]
            self._kept.discard(digest)
        if old:
            discarding = asyncio.ensure_future(self._images.discard(old))
            self._discarding.add(discarding)
            discarding.add_done_callback(self._discarding.discard)

    def _discard(self, name: str) -> None:
        if upload := self._uploads.pop(name, None):
            upload.closing.close()
