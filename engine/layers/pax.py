"""The fields of tar headers: numbers, strings, pax records (pax(1), "pax Extended Header"; tar(5)).

Everything stays bytes: names in images are not promised to be UTF-8.
"""

from __future__ import annotations

from dosirak.engine.layers.errors import CorruptArchive

# Go's archive/tar reads no more of a pax or GNU long-name header (maxSpecialFileSize).
MAX_SPECIAL = 1 << 20
_XATTR = b"SCHILY.xattr."
# A number beyond this is an attack or damage; 2**63 - 1 is also the kernel's largest file.
_MAX_NUMBER = (1 << 63) - 1
_FIELD_END = b"\0 "


def string(field: bytes | memoryview) -> bytes:
    """A NUL-terminated field."""
    return bytes(field).partition(b"\0")[0]


def number(field: bytes, *, signed: bool = False) -> int:
    """A numeric field: octal digits, or GNU's base-256 when the first bit is set.

    Parameters: `signed` allows a negative base-256 number (times before 1970). Raises CorruptArchive.
    """
    if (plain := field[:-1]).isdigit() and field[-1] in _FIELD_END:
        # As almost every field is written; for digits that are not octal there is a message below.
        try:
            return int(plain, 8)
        except ValueError:
            pass
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        digits = field.partition(b"\0")[0].strip(b" ")
        # int() alone would also take "0o7", "_" and signs.
        if digits and not digits.isdigit():
            raise CorruptArchive(f"invalid tar header: {digits!r} is no octal number")
        try:
            value = int(digits, 8) if digits else 0
        except ValueError as error:
            raise CorruptArchive(f"invalid tar header: {digits!r} is no octal number") from error
    if value > _MAX_NUMBER or (value < 0 and not signed):
        raise CorruptArchive("invalid tar header: number out of range")
    return value


class Records:
    """What a pax extended header says about the next entry."""

    __slots__ = ("sparse", "values", "xattrs")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.xattrs: dict[bytes, bytes] = {}
        # GNU.sparse 0.0 repeats two keys, in order: offset, length, offset, length…
        self.sparse: list[bytes] = []

    def number(self, key: bytes, default: int) -> int:
        """A decimal record. Raises CorruptArchive."""
        text = self.values.get(key, b"")
        return decimal(text) if text else default

    def mtime(self, default: int) -> int:
        """`mtime` in nanoseconds: decimal seconds with a fraction. Raises CorruptArchive."""
        text = self.values.get(b"mtime", b"")
        if not text:
            return default
        whole, _, fraction = text.removeprefix(b"-").partition(b".")
        nanoseconds = decimal(whole or b"0") * 10**9 + decimal((fraction[:9] or b"0").ljust(9, b"0"))
        return -nanoseconds if text.startswith(b"-") else nanoseconds


def decimal(text: bytes) -> int:
    """Decimal digits and nothing else. Raises CorruptArchive."""
    # At most 20 digits: int() of a megabyte of digits takes seconds.
    if not text.isdigit() or len(text) > 20 or (value := int(text)) > _MAX_NUMBER:
        raise CorruptArchive(f"invalid tar header: {text[:40]!r} is no number")
    return value


def parse_records(data: bytes) -> Records:
    """Parses a pax extended header ("<length> <key>=<value>\\n"…). Raises CorruptArchive."""
    records = Records()
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        end = at + decimal(data[at:space]) if space > at else 0
        if not space + 2 < end <= len(data) or data[end - 1] != 0x0A:
            raise CorruptArchive("invalid tar header: malformed pax record")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise CorruptArchive("invalid tar header: malformed pax record")
        _take(records, key, value)
        at = end
    return records


def _take(records: Records, key: bytes, value: bytes) -> None:
    if key.startswith(_XATTR):
        records.xattrs[key[len(_XATTR) :]] = value
    elif key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
        if (key == b"GNU.sparse.offset") == bool(len(records.sparse) % 2):
            raise CorruptArchive("invalid tar header: malformed sparse map")
        records.sparse.append(value)
    else:
        if b"\0" in value and key in (b"path", b"linkpath", b"GNU.sparse.name"):
            raise CorruptArchive("invalid tar header: NUL in a name")
        records.values[key] = value
