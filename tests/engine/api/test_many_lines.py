"""A million lines through `logs`: all of them, in order, at any reader's pace, and not in the service's memory."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.engines import Engine, wait_for

LINES = 1_000_000
WHOLE = b"".join(b"%d\n" % number for number in range(1, LINES + 1))


def memory(engine: Engine) -> int:
    """The service's own resident kB."""
    status = Path(f"/proc/{engine.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


def log(engine: Engine, name: str, query: str) -> http.client.HTTPResponse:
    """The answer, of which nothing but its head has been read."""
    connection = http.client.HTTPConnection("docker", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(str(engine.socket))
    connection.request("GET", f"/v1.51/containers/{name}/logs?stdout=1&stderr=1&{query}")
    return connection.getresponse()


def payload(data: bytes) -> Iterator[bytes]:
    """The frames' contents."""
    place, view = 0, memoryview(data)
    while place < len(data):
        assert data[place : place + 4] == b"\1\0\0\0"
        size = int.from_bytes(view[place + 4 : place + 8], "big")
        yield bytes(view[place + 8 : place + 8 + size])
        place += 8 + size


def test_a_million_lines_are_followed_by_a_slow_reader_in_bounded_memory(
    engine: Engine, docker: Any, busybox: str
) -> None:
    docker("run", "--rm", busybox, "seq", "10")  # what a first use takes is taken
    docker("create", "--name", "many", busybox, "sh", "-c", f"seq {LINES}; echo done >&2")
    before = memory(engine)
    docker("start", "many")
    with log(engine, "many", "follow=1") as slow:
        first = slow.read(1000)
        docker("wait", "many")  # nobody's pace holds it up
        assert memory(engine) - before < 16 << 10
        rest = bytearray(first)
        for _ in range(4):
            rest += slow.read(1 << 16)
        assert memory(engine) - before < 16 << 10
        rest += slow.read()
    done = b"\2\0\0\0\0\0\0\5done\n"
    assert done in rest
    assert b"".join(payload(bytes(rest).replace(done, b""))) == WHOLE
    assert memory(engine) - before < 16 << 10


def test_a_million_lines_are_read_back_whole(engine: Engine, docker: Any, busybox: str) -> None:
    docker("run", "-d", "--name", "many", busybox, "seq", str(LINES))
    docker("wait", "many")
    before = memory(engine)
    assert docker("logs", "many", text=False).stdout == WHOLE
    assert docker("logs", "--tail", "300000", "many", text=False).stdout == b"".join(
        b"%d\n" % number for number in range(LINES - 299_999, LINES + 1)
    )
    wait_for(lambda: memory(engine) - before < 16 << 10, 10, "the service to have its memory back")
