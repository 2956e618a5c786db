"""Bytes on the engine's socket: what no HTTP library would send."""

from __future__ import annotations

import re
import socket
from pathlib import Path


def connect(path: Path, timeout: float = 10.0) -> socket.socket:
    """A connection to a unix socket."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(timeout)
    made.connect(str(path))
    return made


def exchange(path: Path, sent: bytes) -> bytes:
    """Send this, and read until the other side closes or has nothing to say for half a second."""
    with connect(path, 0.5) as made:
        try:
            made.sendall(sent)
        except OSError:
            pass  # it need not read all of this to refuse it
        received = b""
        try:
            while part := made.recv(1 << 16):
                received += part
        except OSError:
            pass
        return received


def statuses(received: bytes) -> list[int]:
    """The status of each answer in what was received on one connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request with a body of known length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: docker", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
