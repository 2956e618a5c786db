"""rtnetlink, just enough of it: a socket, the framing, acknowledgements and dumps (rtnetlink(7), linux/netlink.h).

Why not pyroute2: measured on a 2-core machine, kernel 6.18, pyroute2 0.9.6 takes 210–260 ms to import (holding the
interpreter lock, so the event loop stands still in the first container's start) and 0.25–0.4 ms for a message that
takes 0.015–0.1 ms here; a namespace ready for a container is six messages. The tests look at the kernel through
pyroute2, so that this encoder is checked by an independent one.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_CREATE_EXCL = 0x600
NLM_F_CREATE_REPLACE = 0x500
NLM_F_ACK_TLVS = 0x200

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NLA_TYPE_MASK = 0x3FFF
_RECEIVE = 1 << 16


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute (struct nlattr), padded; attributes nest by concatenation."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `offset` on, by kind."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class Netlink:
    """One netlink socket; it belongs to the network namespace of the thread that opened it, whoever uses it later."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:  # before Linux 4.20: errors have no text then, dumps are merely less strict
                pass
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the socket (which, for one of another namespace, lets go of that namespace)."""
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Sends one message and waits for its acknowledgement. Raises OSError with the kernel's own explanation."""
        self._send(kind, body, flags | NLM_F_ACK)
        for _, _ in self._replies():
            pass

    def query(self, kind: int, body: bytes) -> bytes:
        """Sends one message that is answered by one, and returns that one's body. Raises OSError."""
        self._send(kind, body, NLM_F_ACK)
        return b"".join(reply for _, reply in self._replies())

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yields the body of each message of a dump."""
        self._send(kind, body, NLM_F_DUMP)
        for _, reply in self._replies():
            yield reply

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0) + body)

    def _replies(self) -> Iterator[tuple[int, bytes]]:
        """Messages that answer the last request, until its acknowledgement or the end of its dump."""
        while True:
            data = self._socket.recv(_RECEIVE)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_ERROR:
                    _check(body, flags)
                    return
                if kind == NLMSG_DONE:
                    return
                yield kind, body


def _check(body: bytes, flags: int) -> None:
    """Raises OSError if this NLMSG_ERROR is one (0 is an acknowledgement)."""
    (number,) = struct.unpack_from("=i", body)
    if not number:
        return
    text = os.strerror(-number)
    if flags & NLM_F_ACK_TLVS:
        explanation = attributes(body, 4 + _HEADER.size).get(_NLMSGERR_ATTR_MSG)
        text += f" ({explanation.rstrip(bytes(1)).decode(errors='replace')})" if explanation else ""
    raise OSError(-number, text)
