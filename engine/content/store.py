"""The blobs of an OCI image layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dosirak.engine.content.model import Descriptor


class BlobWriter:
    """A blob being written: digested while it streams, invisible until `commit`."""

    def write(self, data: bytes | memoryview) -> int:
        """Appends; returns the number of bytes. Raises HostLimit when the disk is full."""
        raise NotImplementedError

    def commit(self, media_type: str, *, digest: str | None = None, size: int | None = None) -> Descriptor:
        """Puts the blob in its place; `digest` and `size` are what it must turn out to be.

        Raises InvalidRequest when it does not; the blob is then gone.
        """
        raise NotImplementedError


class Store:
    """The blobs under `<data>/content`. Blocking; every method may run in any thread."""

    def __init__(self, path: Path) -> None:
        self.root = path

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        raise NotImplementedError

    def path(self, digest: str) -> Path:
        """Where the blob is (or would be). Raises InvalidRequest for a malformed digest."""
        raise NotImplementedError

    def open(self, digest: str) -> BinaryIO:
        """The blob, to read. Raises NotFound."""
        raise NotImplementedError

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob (manifest, config) of at most `limit` bytes, its digest checked. Raises NotFound, InvalidRequest."""
        raise NotImplementedError

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """`with store.writer() as blob: blob.write(…); blob.commit(media_type)`. Without commit nothing stays."""
        raise NotImplementedError

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Stores these bytes."""
        raise NotImplementedError

    def delete(self, digest: str) -> None:
        """Removes the blob if it is there."""
        raise NotImplementedError
