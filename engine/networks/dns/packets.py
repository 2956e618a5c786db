"""DNS messages (RFC 1035, 6891), as much as a name server for containers needs. Pure.

What comes in is hostile: sizes are checked before anything is read, compression pointers are refused where a client has
no use for them, and what can't be read gets a FORMERR or no answer at all.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

A, PTR, AAAA, OPT = 1, 12, 28, 41
NOERROR, FORMERR, SERVFAIL, NOTIMP, REFUSED = 0, 1, 2, 4, 5
IN = 1
TTL = 600  # seconds, as Docker's

HEADER = struct.Struct("!HHHHHH")
_QUESTION_END = struct.Struct("!HH")
_RECORD = struct.Struct("!HHHIH")  # a pointer to the question's name, type, class, TTL, length
_OPT = struct.Struct("!BHHIH")
_NAME_OF_QUESTION = 0xC000 | HEADER.size

_QR, _OPCODE, _TC, _RD, _RA = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_SMALLEST, _LARGEST_UDP = 512, 4096
LARGEST = 65535


class Question:
    """One question. `name` is in lower case, without the final dot; `section` the bytes it came in.

    `size`: bytes an answer by UDP may have; `extended`: it came with an OPT record, so the answer gets one too.
    """

    __slots__ = ("extended", "flags", "id", "kind", "name", "section", "size")

    def __init__(self, id: int, flags: int, name: str, kind: int, section: bytes, extended: bool, size: int) -> None:
        self.id, self.flags, self.name, self.kind = id, flags, name, kind
        self.section, self.extended, self.size = section, extended, size


class Malformed(Exception):
    """What can't be answered; `reply` is what to send, or None for nothing (an answer must never be answered)."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply
        super().__init__()


def read(data: bytes) -> Question:
    """The question in a message. Raises Malformed."""
    if len(data) < HEADER.size:
        raise Malformed(None)
    id, flags, questions, answers, authorities, additional = HEADER.unpack_from(data)
    if flags & _QR:
        raise Malformed(None)
    if flags & _OPCODE:
        raise Malformed(_bare(id, flags, NOTIMP))
    if questions != 1 or answers or authorities:
        raise Malformed(_bare(id, flags, FORMERR))
    name, offset = _read_name(data, HEADER.size)
    if name is None or offset + 4 > len(data):
        raise Malformed(_bare(id, flags, FORMERR))
    kind, kind_class = _QUESTION_END.unpack_from(data, offset)
    offset += 4
    section = data[HEADER.size : offset]
    if kind_class != IN:
        raise Malformed(_bare(id, flags, REFUSED))
    extended, size = _read_opt(data, offset) if additional else (False, _SMALLEST)
    return Question(id, flags, name, kind, section, extended, size)


def _read_name(data: bytes, offset: int) -> tuple[str | None, int]:
    """A name without pointers, and the offset after it; None if it is none."""
    labels: list[bytes] = []
    start = offset
    while offset < len(data):
        length = data[offset]
        offset += 1
        if not length:
            return b".".join(labels).decode("latin-1").lower(), offset
        if length > 63 or offset + length > len(data) or offset + length - start > 254:
            break
        labels.append(data[offset : offset + length])
        offset += length
    return None, offset


def _read_opt(data: bytes, offset: int) -> tuple[bool, int]:
    """Whether the record at `offset` is an OPT, and the size of answers it allows."""
    if offset + _OPT.size > len(data):
        return False, _SMALLEST
    root, kind, size, _, _ = _OPT.unpack_from(data, offset)
    if root or kind != OPT:
        return False, _SMALLEST
    return True, min(max(size, _SMALLEST), _LARGEST_UDP)


def _bare(id: int, flags: int, code: int) -> bytes:
    return HEADER.pack(id, _QR | flags & (_OPCODE | _RD) | _RA | code, 0, 0, 0, 0)


def write(question: Question, code: int = NOERROR, answers: Sequence[tuple[int, bytes]] = (), limit: int = 0) -> bytes:
    """The answer: (type, data) records that all belong to the question's name.

    Parameters: `limit`: bytes, 0 for what the question allows by UDP. What is too long is cut, and says so.
    """
    limit = limit or question.size
    end = _OPT.pack(0, OPT, _LARGEST_UDP, 0, 0) if question.extended else b""
    room = limit - HEADER.size - len(question.section) - len(end)
    body, count, flags = b"", 0, _QR | question.flags & _RD | _RA | code
    for kind, data in answers:
        record = _RECORD.pack(_NAME_OF_QUESTION, kind, IN, TTL, len(data)) + data
        if len(body) + len(record) > room:
            flags |= _TC
            break
        body += record
        count += 1
    return HEADER.pack(question.id, flags, 1, count, 0, 1 if end else 0) + question.section + body + end


def encode_name(name: str) -> bytes:
    """A name as it stands in a record. Raises ValueError for what is none."""
    encoded = b""
    for label in name.encode("latin-1", "replace").split(b"."):
        if not 0 < len(label) < 64:
            raise ValueError(name)
        encoded += bytes((len(label),)) + label
    if len(encoded) > 254:
        raise ValueError(name)
    return encoded + b"\0"


def with_id(message: bytes, id: int) -> bytes:
    """The same message with another id."""
    return id.to_bytes(2, "big") + message[2:]


def matches(reply: bytes, id: int, question: Question) -> bool:
    """Whether this is an answer to that very question, asked under that id."""
    if len(reply) < HEADER.size + len(question.section):
        return False
    found, flags, questions, _, _, _ = HEADER.unpack_from(reply)
    same = reply[HEADER.size : HEADER.size + len(question.section)].lower() == question.section.lower()
    return found == id and bool(flags & _QR) and questions == 1 and same


def code_of(reply: bytes) -> int:
    """An answer's RCODE."""
    return reply[3] & 15
