"""Frames, safe text, and the loop that moves a container's streams."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.magics.streams import detaching
from dosirak.magics.streams.hijack import Frames
from dosirak.magics.streams.interrupts import Interrupts
from dosirak.magics.streams.pump import Input, Pump
from dosirak.magics.streams.sanitize import Text


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8), st.integers(1, 9))
def test_frames_survive_any_cut(pieces: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(frame(*piece) for piece in pieces)
    frames, found = Frames(), {1: b"", 2: b""}
    for start in range(0, len(data), step):
        for stream, piece in frames.feed(data[start : start + step]):
            found[stream] += piece
    for stream in (1, 2):
        assert found[stream] == b"".join(piece for number, piece in pieces if number == stream)


def through(data: bytes, step: int = 1) -> str:
    text = Text()
    return "".join(text.feed(data[i : i + step]) for i in range(0, len(data), step)) + text.feed(b"", final=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("plain ü 日本\n".encode(), "plain ü 日本\n"),
        (b"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        (b"10%\r20%\r\n", "10%\r20%\r\n"),
        (b"a\x1b]0;title\x07b", "ab"),
        (b"a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        (b"a\x1b]52;c;aGk=\x07b", "ab"),
        (b"a\x1bPq#0\x1b\\b", "ab"),
        (b"a\x1b[2J\x1b[1;1Hb\x1b[Kc", "abc"),
        (b"a\x1b[?25lb\x1bcc\x1b7d", "abcd"),
        (b"bell\x07 nul\x00 bs\x08 tab\t", "bell nul bs\x08 tab\t"),
        ("c1\x9b31m".encode(), "c131m"),
        (b"bad \xff\xfe", "bad \ufffd\ufffd"),
        (b"cut \xe6\x97", "cut \ufffd"),
        (b"end \x1b", "end "),
        (b"end \x1b]0;never", "end 0;never"),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_output_is_made_safe_whatever_the_cuts(data: bytes, expected: str, step: int) -> None:
    assert through(data, step) == expected


@given(st.binary(max_size=200), st.integers(1, 7))
def test_no_cut_changes_the_text(data: bytes, step: int) -> None:
    assert through(data, step) == through(data, 10_000)


@given(st.text())
def test_no_control_but_colours_gets_through(text: str) -> None:
    import re

    shown = re.sub(r"\x1b\[[0-9;:]*m", "", through(text.encode(errors="surrogatepass")))
    assert not re.search(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]", shown)


class Wire:
    """A socket pair dressed as a taken connection."""

    has_early = False

    def __init__(self) -> None:
        self.sock, self.peer = socket.socketpair()

    def fileno(self) -> int:
        return self.sock.fileno()

    def receive(self, limit: int = 65536) -> bytes:
        return self.sock.recv(limit)

    def send_some(self, data: Any) -> int:
        return self.sock.send(data)

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


class Kept:
    def __init__(self) -> None:
        self.out = {1: b"", 2: b""}
        self.closed = False

    def write(self, stream: int, data: bytes) -> None:
        self.out[stream] += data

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def wire() -> Any:
    made = Wire()
    yield made
    made.close()


def test_output_is_split_and_input_is_sent_and_ended(wire: Wire) -> None:
    data, got = os.urandom(1 << 20), bytearray()

    def peer() -> None:
        while piece := wire.peer.recv(65536):
            got.extend(piece)
        wire.peer.sendall(frame(1, b"out") + frame(2, b"err"))
        wire.peer.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=peer)
    thread.start()
    sink = Kept()
    with Interrupts() as interrupts:
        Pump(wire, sink, interrupts, source=Input(data)).run()  # type: ignore[arg-type]
    thread.join()
    assert (bytes(got), sink.out, sink.closed) == (data, {1: b"out", 2: b"err"}, True)


def test_a_reader_that_stops_reading_does_not_stop_the_output(wire: Wire) -> None:
    wire.peer.shutdown(socket.SHUT_RD)
    threading.Timer(0.05, lambda: (wire.peer.sendall(b"still"), wire.peer.shutdown(socket.SHUT_WR))).start()
    sink = Kept()
    with Interrupts() as interrupts:
        Pump(wire, sink, interrupts, framed=False, source=Input(b"x" * (1 << 20))).run()  # type: ignore[arg-type]
    assert sink.out[1] == b"still"


def test_an_interrupt_is_counted_and_not_raised(wire: Wire) -> None:
    seen: list[tuple[int, int]] = []

    def on_signal(number: int, count: int) -> None:
        seen.append((number, count))
        if count == 2:
            wire.peer.close()

    for delay in (0.05, 0.15):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        Pump(wire, Kept(), interrupts, on_signal=on_signal).run()  # type: ignore[arg-type]
    assert seen == [(signal.SIGINT, 1), (signal.SIGINT, 2)]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_tick_ends_the_loop(wire: Wire) -> None:
    start = time.monotonic()
    with Interrupts() as interrupts:
        pump = Pump(wire, Kept(), interrupts, on_tick=lambda: time.monotonic() - start > 0.5)  # type: ignore[arg-type]
        pump.run()
    assert pump.detached


def test_detach_keys_end_the_loop_and_are_not_sent(wire: Wire) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"ls\n\x10")
    threading.Timer(0.1, os.write, (writer, b"x\x10\x11more")).start()
    with Interrupts() as interrupts:
        pump = Pump(
            wire,
            Kept(),
            interrupts,
            framed=False,
            source=Input(fd=reader),
            detach_keys=b"\x10\x11",  # type: ignore[arg-type]
        )
        pump.run()
    wire.sock.shutdown(socket.SHUT_WR)
    sent = b""
    while piece := wire.peer.recv(100):
        sent += piece
    os.close(reader)
    os.close(writer)
    assert pump.detached
    assert sent == b"ls\n"[:3] or sent == b"ls\n\x10x"


def test_detach_keys_are_parsed() -> None:
    assert detaching.parse("") == b"\x10\x11"
    assert detaching.parse("ctrl-a,b,ctrl-\\") == b"\x01b\x1c"
    with pytest.raises(ValueError, match="invalid detach keys"):
        detaching.parse("ctrl-ä")


@pytest.mark.parametrize(
    ("content", "chosen"),
    [
        ('{"detachKeys": "ctrl-x,y"}', "ctrl-x,y"),
        ("{}", ""),
        ('{"detachKeys": 7}', ""),
        ("[]", ""),
        ("{", ""),
        (None, ""),
    ],
)
def test_without_a_flag_the_docker_cli_s_configuration_has_the_detach_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, chosen: str
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert detaching.chosen("") == chosen
    assert detaching.chosen("ctrl-a") == "ctrl-a"
