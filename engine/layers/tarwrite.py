"""Writing tar headers: ustar where it fits, pax records before it where it does not (pax(1))."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from dosirak.engine.layers.tarread import BLOCK

END = bytes(2 * BLOCK)
_OCTAL_8 = 0o7777777
_OCTAL_12 = 0o77777777777
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")


def header(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """One entry's header blocks; `mtime` in whole seconds. The same arguments give the same bytes."""
    plain = len(name) <= 100 >= len(link) and name.isascii() and link.isascii() and not xattrs
    if plain and uid <= _OCTAL_8 >= gid and size <= _OCTAL_12 and 0 <= mtime <= _OCTAL_12:
        return _block(name, kind, mode, uid, gid, size, mtime, link, major, minor)  # as almost every entry
    records = {b"SCHILY.xattr." + key: value for key, value in sorted((xattrs or {}).items())}
    for key, text in ((b"path", name), (b"linkpath", link)):
        # Readers of pax take names as UTF-8, and as they stand where they are not.
        if len(text) > 100 or not text.isascii():
            records[key] = text
    for key, value, limit in ((b"uid", uid, _OCTAL_8), (b"gid", gid, _OCTAL_8), (b"size", size, _OCTAL_12)):
        if value > limit:
            records[key] = b"%d" % value
    if not 0 <= mtime <= _OCTAL_12:
        records[b"mtime"] = b"%d" % mtime
    block = _block(name, kind, mode, uid, gid, size, mtime, link, major, minor)
    if not records:
        return block
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    extended = _block(b"PaxHeaders/entry", b"x", 0o644, 0, 0, len(data), 0, b"", 0, 0)
    return extended + data + padding(len(data)) + block


def padding(size: int) -> bytes:
    """What fills `size` bytes up to a whole block."""
    return bytes(-size % BLOCK)


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, major: int, minor: int
) -> bytes:
    # A field that does not fit is cut (or zero): the pax record before this block says what it really is.
    fields = (
        name[:100],
        b"%07o" % mode,
        b"%07o" % (uid if uid <= _OCTAL_8 else 0),
        b"%07o" % (gid if gid <= _OCTAL_8 else 0),
        b"%011o" % (size if size <= _OCTAL_12 else 0),
        b"%011o" % (mtime if 0 <= mtime <= _OCTAL_12 else 0),
        b" " * 8,
        kind,
        link[:100],
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"%07o" % major,
        b"%07o" % minor,
        b"",
    )
    block = _HEADER.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
