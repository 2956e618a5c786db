"""Where an HTTP/1.1 request ends in a stream of bytes.

Needed for one thing: whatever a client sends right behind an attach request already belongs to the container's
standard input, and an upload's body to the thread that unpacks it, so the connection has to be cut at exactly that byte
(`connection.py`). aiohttp's own parser remains the only judge of what the request means.
"""

from __future__ import annotations

import re

from dosirak.engine.errors import InvalidRequest

HEAD_LIMIT = 1 << 20
"""Bytes a request's head may have."""

_TAKES_OVER = re.compile(
    rb"(?:POST [^ ?]*(?:/attach|/exec/[^ /?]+/start)|GET [^ ?]*/(?:archive|export)|PUT [^ ?]*/archive)(?:\?[^ ]*)?"
    rb" HTTP/1\.[01]\r\n"
)
_UPLOADS = re.compile(rb"PUT [^ ?]*/archive(?:\?[^ ]*)? HTTP/")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[^\r\n]*)?\r\n")


class CutOff(InvalidRequest):
    """The client has closed its writing side in the middle of a request's body."""


def takes_over(head: bytes | bytearray) -> bool:
    """Whether the request that begins here may take its connection: for a raw stream (attach, exec start), or to
    move a large body past aiohttp (cp, export)."""
    return _TAKES_OVER.match(head) is not None


def head_end(data: bytes | bytearray) -> int:
    """Index just behind the head's empty line; -1 while it has not arrived."""
    end = data.find(b"\r\n\r\n")
    return end if end < 0 else end + 4


def request_end(data: bytes | bytearray) -> int:
    """Index just behind the request (head and body) that begins at 0; -1 while it has not arrived whole.

    An upload's body is for whoever takes the connection: such a request ends with its head. A chunked body that makes
    no sense ends the request here: aiohttp then says what is wrong with it.
    """
    body = head_end(data)
    if body < 0 or _UPLOADS.match(data) is not None:
        return body
    head = bytes(data[:body])
    if _CHUNKED.search(head):
        return _chunks_end(data, body)
    length = _LENGTH.search(head)
    end = body + int(length[1]) if length else body
    return end if end <= len(data) else -1


def _chunks_end(data: bytes | bytearray, at: int) -> int:
    while True:
        size = _CHUNK.match(data, at)
        if size is None:
            return -1 if b"\r\n" not in data[at:] and len(data) - at < 64 else len(data)
        at = size.end() + int(size[1], 16) + 2
        if at > len(data):
            return -1
        if int(size[1], 16) == 0:
            # Trailers are allowed by HTTP and sent by nobody: the empty line must stand here.
            return at if data[at - 2 : at] == b"\r\n" else len(data)
