"""Messages between service, launcher, starters and monitors: one a SOCK_SEQPACKET packet, with descriptors.

In marshal's format 2 (the same for every Python 3) and by the sockets of `_socket`, not in JSON and by those of
`socket`: a monitor that only waits would have a third more memory of its own.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Socket = _socket.socket

FORMAT = 2
MAX_FDS = 253  # SCM_MAX_FD (unix(7))
_MOST = 1 << 16
_INT, _ORDER = 4, sys.byteorder


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def pack(message: dict[str, Any]) -> bytes:
    """A message of numbers, strings, bytes, lists and dicts of such."""
    return marshal.dumps(message, FORMAT)


def unpack(data: bytes) -> dict[str, Any]:
    """What `pack` made. Raises ValueError, EOFError, TypeError."""
    message: dict[str, Any] = marshal.loads(data)
    return message


def peer(sock: Socket) -> tuple[int, int]:
    """The pid and the uid of who connected or listens, by the kernel's word (SO_PEERCRED, unix(7)). Raises OSError."""
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 3 * _INT)
    return int.from_bytes(credentials[:_INT], _ORDER), int.from_bytes(credentials[_INT : 2 * _INT], _ORDER)


def send(sock: Socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet. Raises OSError, BlockingIOError when there is no room now."""
    if fds:
        numbers = b"".join([fd.to_bytes(_INT, _ORDER) for fd in fds])
        sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    else:
        sock.send(data)


def receive(sock: Socket, max_fds: int = MAX_FDS) -> tuple[bytes, list[int]]:
    """A packet and its descriptors, close-on-exec; b"" at the end. Raises OSError, BlockingIOError."""
    space = _socket.CMSG_SPACE(max_fds * _INT)
    data, ancillary, _, _ = sock.recvmsg(_MOST, space, _socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for _, _, numbers in ancillary:
        fds += [int.from_bytes(numbers[at : at + _INT], _ORDER) for at in range(0, len(numbers) - _INT + 1, _INT)]
    return data, fds


def send_long(sock: Socket, data: bytes, fds: Sequence[int]) -> None:
    """Send a message that may be longer than a packet; `open_long` gives it back. Raises as `send`."""
    if len(data) < _MOST:
        send(sock, b"\0" + data, fds)
        return
    memfd = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        os.write(memfd, data)
        send(sock, b"\1", [memfd, *fds])
    finally:
        os.close(memfd)


def open_long(data: bytes, fds: list[int]) -> bytes:
    """The message in a packet of `send_long`; takes its memfd from `fds`."""
    if data[:1] == b"\0":
        return data[1:]
    memfd = fds.pop(0)
    try:
        return os.pread(memfd, os.fstat(memfd).st_size, 0)
    finally:
        os.close(memfd)
