"""An archive's members, spooled: each a half-made blob of the store, digested as it came in.

A member is looked up by its name in the archive, never as a file: "../../etc/shadow" is a member of no archive. A link
is another name of a member.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import BinaryIO

from dosirak.engine.content import BlobWriter, Store
from dosirak.engine.layers import tarread
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.digesting import drain
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.names import parts, shown
from dosirak.engine.layers.tarread import TarReader

# An archive of 128 images of 128 layers, with every legacy file, has fewer.
_MAX_MEMBERS = 65536
_MAX_LINKS = 8
_BLOB = re.compile(rb"blobs/sha256/([0-9a-f]{64})")


class Members:
    """The members of one archive. Close it to throw away those that were not committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stack = ExitStack()
        self._blobs: dict[bytes, BlobWriter] = {}
        self._links: dict[bytes, bytes] = {}

    def read(self, source: BinaryIO) -> None:
        """Spools the whole archive, compressed or not. Blocking. Raises CorruptArchive, HostLimit."""
        stream = decompressed(source)
        reader = TarReader(stream)
        for count, entry in enumerate(reader):
            if count >= _MAX_MEMBERS:
                raise CorruptArchive("invalid archive: too many members")
            path = parts(entry.name)
            name = b"/".join(path)
            if entry.kind == tarread.REGULAR and entry.pieces is None:
                self._links.pop(name, None)
                self._spool(name, reader)
            elif entry.kind == tarread.LINK:
                self._links[name] = b"/".join(parts(entry.link))
            elif entry.kind == tarread.SYMLINK:
                # As the old archives have them: "../<id>/layer.tar" for a layer that two images share.
                self._links[name] = b"/".join(parts(b"/".join([*path[:-1], entry.link])))
        drain(stream)

    def _spool(self, name: bytes, reader: TarReader) -> None:
        blob = self._known(name)
        if blob is None:
            blob = self._stack.enter_context(self._store.writer())
            for data in reader.data():
                blob.write(data)
            blob.close()
        if before := self._blobs.get(name):
            before.discard()
        self._blobs[name] = blob

    def _known(self, name: bytes) -> BlobWriter | None:
        """What an OCI layout's name of a blob stands for, if that is in the store: then nobody needs the archive's."""
        found = _BLOB.fullmatch(name)
        if found is None:
            return None
        return self._stack.enter_context(self._store.again(f"sha256:{found[1].decode()}"))

    def __contains__(self, name: str) -> bool:
        return self._resolve(name.encode()) in self._blobs

    def get(self, name: str) -> BlobWriter:
        """The member's spooled bytes. Raises CorruptArchive when there is no such member."""
        found = self._blobs.get(self._resolve(name.encode("utf-8", "surrogateescape")))
        if found is None:
            raise CorruptArchive(f"invalid archive: does not contain {shown(name.encode())}")
        return found

    def content(self, name: str, limit: int) -> bytes:
        """A small member's bytes. Raises CorruptArchive when it is missing or larger than `limit`."""
        blob = self.get(name)
        if blob.size > limit:
            raise CorruptArchive(f"invalid archive: {shown(name.encode())} is larger than {limit} bytes")
        return blob.path.read_bytes()

    def _resolve(self, name: bytes) -> bytes:
        found = b"/".join(parts(name)) if name else b""
        for _ in range(_MAX_LINKS):
            if found in self._blobs or found not in self._links:
                break
            found = self._links[found]
        return found

    def close(self) -> None:
        """Throws away every member that was not committed."""
        self._stack.close()
