"""One attached client: its detach keys, frames, backlog, and end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.supervision import clients, spill
from dosirak.engine.supervision.clients import Client
from support.bundles import split

DEFAULT = b"\x10\x11"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def client(sock: socket.socket, *, keys: bytes = DEFAULT, framed: bool = True, folder: str = "") -> Client:
    return Client(sock, stdin=True, wants={1, 2}, framed=framed, detach_keys=keys, folder=folder)


def typed(keys: bytes, pieces: list[bytes]) -> tuple[bytes, bool]:
    """What comes through of pieces of input, and whether the client detached."""
    ours, theirs = socket.socketpair()
    made, passed = client(theirs, keys=keys), b""
    try:
        for piece in pieces:
            part, detaches = made.cut_detach(piece)
            passed += part
            if detaches:
                return passed, True
        return passed, False
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("keys", "pieces", "passed", "detaches"),
    [
        (DEFAULT, [b"ls\r"], b"ls\r", False),
        (DEFAULT, [b"ls\x10\x11rest"], b"ls", True),
        (DEFAULT, [b"a\x10", b"\x11"], b"a", True),
        (DEFAULT, [b"\x10", b"x"], b"\x10x", False),
        (DEFAULT, [b"\x10\x10\x11"], b"\x10", True),
        (DEFAULT, [b"\x11\x10"], b"\x11", False),
        (b"aab", [b"aaab"], b"a", True),
        (b"abab", [b"ababab"], b"", True),
        (b"abac", [b"abab", b"ac"], b"ab", True),
        (b"x", [b"abxc"], b"ab", True),
        (b"", [b"\x10\x11"], b"\x10\x11", False),
    ],
)
def test_detach_keys(keys: bytes, pieces: list[bytes], passed: bytes, detaches: bool) -> None:
    assert typed(keys, pieces) == (passed, detaches)


def model(keys: bytes, data: bytes) -> tuple[bytes, bool]:
    """All before the first occurrence; without one, all but the longest end that may still become one."""
    if not keys:
        return data, False
    found = data.find(keys)
    if found >= 0:
        return data[:found], True
    held = next(length for length in range(len(keys) - 1, -1, -1) if data.endswith(keys[:length]))
    return data[: len(data) - held], False


letters = st.binary(max_size=5).map(lambda data: bytes(byte % 3 + 97 for byte in data))


@settings(max_examples=500, deadline=None)
@given(letters, st.lists(letters, max_size=6))
def test_detach_keys_are_found_wherever_they_stand(keys: bytes, pieces: list[bytes]) -> None:
    assert typed(keys, pieces) == model(keys, b"".join(pieces))


def test_frames_are_dockers(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    made = client(theirs)
    assert made.put(1, b"out") and made.put(2, b"err")
    assert ours.recv(100) == b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err"


def test_a_terminals_output_comes_as_it_is(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert client(theirs, framed=False).put(1, b"raw")
    assert ours.recv(100) == b"raw"


def test_a_full_socket_keeps_frames_whole_and_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    made = client(theirs)
    pieces = [(1 + number % 2, bytes([number % 251]) * 5000) for number in range(200)]
    for stream, data in pieces:
        assert made.put(stream, data)
    assert made.waiting
    ours.settimeout(0.2)
    got = bytearray()
    while made.waiting or len(got) < 200 * 5008:
        got += ours.recv(1 << 16)
        assert made.send_waiting()
    assert split(bytes(got)) == tuple(b"".join(data for kind, data in pieces if kind == want) for want in (1, 2))


def test_the_first_output_waits_until_the_head_was_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """docker-py loses what its first read finds behind the head."""
    ours, theirs = pair
    theirs.sendall(b"head")
    heads: list[bytes] = []
    reader = threading.Timer(0.05, lambda: heads.append(ours.recv(100)))
    reader.start()
    assert client(theirs, framed=False).put(1, b"output")
    reader.join()
    assert heads == [b"head"] and ours.recv(100) == b"output"


def test_a_client_that_is_gone_is_noticed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    made = client(theirs)
    ours.close()
    assert not made.put(1, b"x")


def test_the_end_is_clean_although_input_was_left(pair: tuple[socket.socket, socket.socket]) -> None:
    """A socket closed with unread input gives its peer ECONNRESET."""
    ours, theirs = pair
    made = client(theirs)
    made.put(1, b"last words")
    ours.sendall(b"never read" * 1000)
    made.finish()
    assert ours.recv(100)[8:] == b"last words"
    assert ours.recv(100) == b""


def test_the_end_reaches_a_client_whose_socket_somebody_else_holds_too(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """As the service does, whose HTTP connection it was."""
    ours, theirs = pair
    held = theirs.dup()
    client(theirs).finish()
    assert ours.recv(100) == b""
    held.close()


@pytest.mark.parametrize("limit", [1 << 30, 100_000])
def test_what_a_client_does_not_take_waits_in_a_nameless_file(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """As much as may wait there, the file used in a circle; the rest in memory."""
    monkeypatch.setattr(clients, "_IN_MEMORY", 50_000)
    monkeypatch.setattr(spill, "LIMIT", limit)
    ours, theirs = pair
    made = client(theirs, folder=str(tmp_path))
    sent = got = b""
    for turn in range(200):
        data = bytes([turn]) * 5000
        made.put(1, data)
        sent += data
    assert made.waiting and made.full == (limit < 1 << 30 and len(sent) > (1 << 20) + limit)
    assert not list(tmp_path.iterdir())
    while made.waiting:
        got += ours.recv(3000)
        assert made.send_waiting()
        if len(sent) < 3_000_000:
            made.put(1, b"x" * 5000)
            sent += b"x" * 5000
    theirs.shutdown(socket.SHUT_WR)
    while piece := ours.recv(1 << 16):
        got += piece
    assert split(got)[0] == sent


def test_without_room_on_disk_memory_has_to_do(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    ours, theirs = pair
    made = client(theirs, folder=str(tmp_path / "gone"))
    for _ in range(400):
        made.put(1, b"x" * 5000)
    assert made.full
    got = b""
    while made.waiting:
        got += ours.recv(1 << 16)
        assert made.send_waiting()
    assert not made.full
