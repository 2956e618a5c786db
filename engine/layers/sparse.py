"""Sparse maps: GNU's old format and the three of pax (tar(5), "GNU tar"; GNU tar manual, "Storing Sparse Files").

A map lists (offset, length) of the pieces that are stored; between them lie holes. All maps are capped (CVE-2025-58183)
and checked: in order, apart, inside the file, and as long together as what the archive stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.pax import MAX_SPECIAL, Records, decimal, number

MAX_PIECES = 1 << 16

Piece = tuple[int, int]
"""Offset and length in bytes."""

Read = Callable[[int], bytes]
"""Reads exactly so many bytes of the archive."""


def old_gnu(header: bytes, read: Read) -> tuple[list[Piece], int]:
    """The map of a type 'S' header, with its extension blocks; and the file's real size. Raises CorruptArchive."""
    pieces = _slots(header[386:482])
    real = number(header[483:495])
    extended = header[482] not in (0, 0x30)
    while extended:
        block = read(512)
        pieces += _slots(block[:504])
        _cap(len(pieces))
        extended = block[504] not in (0, 0x30)
    return pieces, real


def _slots(data: bytes) -> list[Piece]:
    pieces = []
    for at in range(0, len(data) - 23, 24):
        if not data[at]:
            break
        pieces.append((number(data[at : at + 12]), number(data[at + 12 : at + 24])))
    return pieces


def pax_map(records: Records) -> list[Piece] | None:
    """The map in pax records (formats 0.0 and 0.1), None if there is none. Raises CorruptArchive."""
    if records.sparse:
        return _pairs([decimal(value) for value in records.sparse])
    text = records.values.get(b"GNU.sparse.map")
    if text is None:
        return None
    _cap(text.count(b",") // 2)
    return _pairs([decimal(value) for value in text.split(b",")] if text else [])


def data_map(read: Read) -> tuple[list[Piece], int]:
    """The map at the head of the entry's data (format 1.0): and how many bytes of the data it took.

    Decimal lines: the number of pieces, then offset and length of each, padded to a block. Raises CorruptArchive.
    """
    data = b""
    wanted = 1
    while data.count(b"\n") < wanted:
        if len(data) > MAX_SPECIAL:
            raise CorruptArchive("sparse map too large")
        data += read(512)
        if wanted == 1 and b"\n" in data:
            count = decimal(data.partition(b"\n")[0])
            _cap(count)
            wanted += 2 * count
    lines = data.split(b"\n")[1:wanted]
    return _pairs([decimal(line) for line in lines]), len(data)


def check(pieces: Sequence[Piece], real: int, stored: int) -> None:
    """Raises CorruptArchive unless the pieces are in order, apart, within `real` bytes, and `stored` bytes together."""
    end = 0
    for offset, length in pieces:
        if offset < end or offset + length > real:
            raise CorruptArchive("invalid sparse map")
        end = offset + length
    if sum(length for _, length in pieces) != stored:
        raise CorruptArchive("invalid sparse map: its pieces do not add up to what is stored")


def _pairs(numbers: Sequence[int]) -> list[Piece]:
    if len(numbers) % 2:
        raise CorruptArchive("invalid sparse map")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _cap(pieces: int) -> None:
    if pieces > MAX_PIECES:
        raise CorruptArchive("sparse map too large")
