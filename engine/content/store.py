"""The blobs of an OCI image layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dosirak.engine.content.digests import digest_of, hex_part
from dosirak.engine.content.disk import host_limits
from dosirak.engine.content.model import Descriptor
from dosirak.engine.errors import InvalidRequest, NotFound

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class BlobWriter:
    """A blob being written: digested while it streams, invisible until `commit`. Made by `Store.writer`."""

    def __init__(self, path: Path, blobs: Path) -> None:
        self.path = path
        self.size = 0
        self._blobs = blobs
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        with host_limits("writing a blob"):
            # Unbuffered: callers write in large pieces.
            self._file = path.open("xb", buffering=0)

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Appends; returns the number of bytes. Raises HostLimit when the disk is full."""
        if self._file is None:
            raise ValueError("the blob was closed")
        self._hash.update(data)
        view = memoryview(data)
        with host_limits("writing a blob"):
            while view:
                view = view[self._file.write(view) :]
        self.size += len(data)
        return len(data)

    def close(self) -> None:
        """Ends writing and makes the bytes durable; the blob stays invisible. `path` can be read."""
        if self._file is not None:
            with host_limits("writing a blob"):
                # A name that is a digest must never stand for half a blob, not even after a power failure.
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def commit(self, media_type: str, *, digest: str | None = None, size: int | None = None) -> Descriptor:
        """Puts the blob in its place; `digest` and `size` are what it must turn out to be.

        Raises InvalidRequest when it does not; the blob is then gone.
        """
        made = self.digest
        if digest is not None and digest != made:
            raise InvalidRequest(f"digest mismatch: expected {digest}, got {made}")
        if size is not None and size != self.size:
            raise InvalidRequest(f"size mismatch of {made}: expected {size} bytes, got {self.size}")
        self.close()
        with host_limits("writing a blob"):
            self.path.rename(self._blobs / hex_part(made))
        return Descriptor(media_type, made, self.size)

    def discard(self) -> None:
        """Throws away what was written, unless it was committed."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.path.unlink(missing_ok=True)


class StoredBlob(BlobWriter):
    """A blob that is in its place already, as if it had just been written. Made by `Store.again`.

    It has a name of its own (a hard link): whoever deletes the blob meanwhile does not take it from us.
    """

    def __init__(self, path: Path, blobs: Path, digest: str) -> None:
        with host_limits("keeping a blob"):
            path.hardlink_to(blobs / hex_part(digest))
            self.size = path.stat().st_size
        self.path, self._blobs, self._digest = path, blobs, digest
        self._file = None

    @property
    def digest(self) -> str:
        """The digest that it was stored under."""
        return self._digest


class Store:
    """The blobs under `<data>/content`. Blocking; every method may run in any thread."""

    def __init__(self, path: Path) -> None:
        self.root = path
        self._blobs = path / "blobs" / "sha256"
        self._temporary = path / "tmp"
        with host_limits("preparing the content store"):
            # Closed to other users: blobs hold whole images, setuid files and all (CVE-2021-41091).
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            layout = path / "oci-layout"
            if not layout.exists():
                layout.write_bytes(LAYOUT)

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self.path(digest).exists()

    def path(self, digest: str) -> Path:
        """Where the blob is (or would be). Raises InvalidRequest for a malformed digest."""
        return self._blobs / hex_part(digest)

    def size(self, digest: str) -> int:
        """The blob's size in bytes. Raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"no such blob: {digest}") from error

    def open(self, digest: str) -> BinaryIO:
        """The blob, to read. Raises NotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"no such blob: {digest}") from error

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob (manifest, config) of at most `limit` bytes, its digest checked.

        Raises NotFound; InvalidRequest when it is larger or damaged.
        """
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidRequest(f"blob {digest} is larger than {limit} bytes")
        if digest_of(data) != digest:
            raise InvalidRequest(f"blob {digest} is damaged: its bytes have digest {digest_of(data)}")
        return data

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """`with store.writer() as blob: blob.write(…); blob.commit(media_type)`. Without commit nothing stays."""
        writer = BlobWriter(self._temporary / os.urandom(8).hex(), self._blobs)
        try:
            yield writer
        finally:
            writer.discard()

    @contextmanager
    def again(self, digest: str) -> Iterator[BlobWriter | None]:
        """As `writer`, with what `digest` names already in it; None where there is no such blob.

        Raises InvalidRequest for a malformed digest.
        """
        path = self._temporary / os.urandom(8).hex()
        try:
            blob = StoredBlob(path, self._blobs, digest)
        except FileNotFoundError:
            yield None
            return
        try:
            yield blob
        finally:
            blob.discard()

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Stores these bytes."""
        digest = digest_of(data)
        if self.has(digest):
            return Descriptor(media_type, digest, len(data))
        with self.writer() as blob:
            blob.write(data)
            return blob.commit(media_type)

    def delete(self, digest: str) -> None:
        """Removes the blob if it is there."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Every blob that is there."""
        with os.scandir(self._blobs) as entries:
            for entry in entries:
                yield f"sha256:{entry.name}"

    def collect(self, reachable: Container[str]) -> list[str]:
        """Deletes the blobs that are not in `reachable`; returns their digests. Not while something is being stored."""
        garbage = [digest for digest in self.digests() if digest not in reachable]
        for digest in garbage:
            (self._blobs / digest[7:]).unlink(missing_ok=True)
        return garbage

    def sweep(self) -> None:
        """Deletes half-written blobs a killed service left. Only at the service's start, before anything is stored."""
        for path in self._temporary.iterdir():
            with suppress(OSError):
                path.unlink()
