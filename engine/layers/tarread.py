"""Reading tars: ustar, pax and GNU headers into entries, their data as a stream.

Our own parser rather than `tarfile`: that one decodes names, reads headers and sparse maps of any size into memory, and
takes several times as long an entry. What is not understood is refused, never guessed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import BinaryIO
from zlib import adler32

from dosirak.engine.layers import pax, sparse
from dosirak.engine.layers.errors import CorruptArchive

BLOCK = 512
CHUNK = 1 << 20
_END = bytes(BLOCK)
# chown(2) takes 2**32 - 1 for "leave it".
_MAX_ID = (1 << 32) - 2

REGULAR, LINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = frozenset({REGULAR, LINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO})
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"L", b"K", b"S"
# An old header type (NUL), and "contiguous file": both are regular files.
_AS_REGULAR = frozenset({b"\0", b"7"})
_NO_RECORDS = pax.Records()


class Entry:
    """One entry: its header, with the extended headers before it worked in.

    `kind` is one of this module's constants. `size`: bytes of the file as it will be; `stored`: bytes of data in the
    archive (fewer, for a sparse file: `pieces` says where they belong). `mtime`: unix nanoseconds.
    """

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "pieces",
        "size",
        "stored",
        "uid",
        "xattrs",
    )

    name: bytes
    kind: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    mtime: int
    major: int
    minor: int
    xattrs: dict[bytes, bytes]
    pieces: list[sparse.Piece] | None


class TarReader:
    """Iterates over the entries of an uncompressed tar; `data()` reads the current one's.

    Raises CorruptArchive for anything malformed, including an archive that ends within an entry.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def data(self) -> Iterator[bytes]:
        """What is left of the current entry's data, in pieces of at most a MiB."""
        while self._left:
            data = self._source.read(min(self._left, CHUNK))
            if not data:
                raise CorruptArchive("unexpected end of the archive")
            self._left -= len(data)
            yield data

    def _next(self) -> Entry | None:
        long_name = long_link = b""
        records = _NO_RECORDS
        while True:
            self._skip()
            header = self._header()
            if header is None:
                return None
            kind = header[156:157]
            size = pax.number(header[124:136])
            self._left, self._padding = size, -size % BLOCK
            if kind == _PAX:
                records = pax.parse_records(self._special(size))
            elif kind == _LONG_NAME:
                long_name = pax.string(self._special(size))
            elif kind == _LONG_LINK:
                long_link = pax.string(self._special(size))
            elif kind == _PAX_GLOBAL:
                # A comment in practice (git archive). Like Go's reader, its records are not applied to entries.
                self._special(size)
            else:
                entry = self._entry(header, kind, records)
                entry.name = records.values.get(b"path") or long_name or _name(header)
                entry.link = records.values.get(b"linkpath") or long_link or pax.string(header[157:257])
                if kind == _SPARSE or records.values or records.sparse:
                    self._sparse(entry, header, kind, records)
                # Only now: the oldest tars know a directory by its trailing slash alone.
                if kind == b"\0" and entry.name.endswith(b"/"):
                    entry.kind = DIRECTORY
                return entry

    def _header(self) -> bytes | None:
        header = self._source.read(BLOCK)
        # The end: a block of zeros (a second one follows; nothing is read after it), or simply no more bytes.
        if not header or header == _END:
            return None
        if len(header) < BLOCK:
            raise CorruptArchive("unexpected end of the archive")
        try:
            claimed = int(header[148:156].partition(b"\0")[0].strip(b" ") or b"none", 8)
        except ValueError as error:
            raise CorruptArchive("invalid tar header: not a tar archive, or damaged") from error
        # The checksum counts its own field as blanks. Some ancient tars added signed bytes.
        counted = _sum(header) - sum(header[148:156]) + 8 * 0x20
        if claimed != counted and claimed != counted - 256 * sum(byte > 127 for byte in header):
            raise CorruptArchive("invalid tar header: wrong checksum")
        return header

    def _entry(self, header: bytes, kind: bytes, records: pax.Records) -> Entry:
        entry = Entry()
        entry.kind = REGULAR if kind in _AS_REGULAR or kind == _SPARSE else kind
        if entry.kind not in _KINDS:
            raise CorruptArchive(f"unhandled tar entry type {kind!r}")
        entry.mode = stat.S_IMODE(pax.number(header[100:108]))
        entry.uid, entry.gid = pax.number(header[108:116]), pax.number(header[116:124])
        entry.mtime = pax.number(header[136:148], signed=True) * 10**9
        size = self._left
        if records.values:
            entry.uid, entry.gid = records.number(b"uid", entry.uid), records.number(b"gid", entry.gid)
            entry.mtime = records.mtime(entry.mtime)
            size = records.number(b"size", size)
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID:
            raise CorruptArchive("invalid tar header: owner out of range")
        # Only regular files have data; GNU tar gives hard links the size of their target, and stores none.
        entry.size = entry.stored = size if entry.kind == REGULAR else 0
        self._left, self._padding = entry.stored, -entry.stored % BLOCK
        entry.xattrs = records.xattrs
        entry.pieces = None
        entry.major = entry.minor = 0
        if entry.kind in (CHAR, BLOCKDEV):
            entry.major, entry.minor = pax.number(header[329:337]), pax.number(header[337:345])
        return entry

    def _sparse(self, entry: Entry, header: bytes, kind: bytes, records: pax.Records) -> None:
        """Works a sparse map in, wherever it stands."""
        if entry.kind != REGULAR:
            return
        if kind == _SPARSE:
            entry.pieces, entry.size = sparse.old_gnu(header, self._exactly)
        else:
            entry.pieces = sparse.pax_map(records)
            version = records.values.get(b"GNU.sparse.major"), records.values.get(b"GNU.sparse.minor")
            if version == (b"1", b"0"):
                entry.pieces, taken = sparse.data_map(self._mapped)
                entry.stored -= taken
        if entry.pieces is not None:
            entry.name = records.values.get(b"GNU.sparse.name") or entry.name
            real = records.number(b"GNU.sparse.realsize", records.number(b"GNU.sparse.size", entry.size))
            entry.size = real
            sparse.check(entry.pieces, real, entry.stored)

    def _mapped(self, size: int) -> bytes:
        """A block of the entry's own data, for a map that stands there."""
        if size > self._left:
            raise CorruptArchive("invalid sparse map: longer than the entry")
        self._left -= size
        return self._exactly(size)

    def _special(self, size: int) -> bytes:
        if size > pax.MAX_SPECIAL:
            raise CorruptArchive("invalid tar header: extended header too large")
        self._left = 0
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size)
        if len(data) < size:
            raise CorruptArchive("unexpected end of the archive")
        return data

    def _skip(self) -> None:
        """To the next header."""
        if self._left:
            for _ in self.data():
                pass
        if self._padding:
            # Docker's client ends a context that it has added a Dockerfile to without the last entry's padding.
            if 0 < len(self._source.read(self._padding)) < self._padding:
                raise CorruptArchive("unexpected end of the archive")
            self._padding = 0


def _sum(header: bytes) -> int:
    """The sum of its bytes, ten times as fast as sum(): Adler-32's lower half, exact up to 256 bytes (RFC 1950)."""
    return (adler32(header[:256]) & 0xFFFF) + (adler32(header[256:]) & 0xFFFF) - 2


def _name(header: bytes) -> bytes:
    name = pax.string(header[0:100])
    # POSIX: the prefix field counts only in ustar headers; GNU's ("ustar ") keeps times and sparse maps there.
    if header[257:263] == b"ustar\0" and (prefix := pax.string(header[345:500])):
        return prefix + b"/" + name
    return name
