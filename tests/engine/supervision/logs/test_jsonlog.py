"""The json-file log: whatever comes, in whatever pieces, can be read back."""

from __future__ import annotations

import errno
import json
import os
import resource
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.supervision.logs.jsonlog import JsonLog

LONGEST = 16384
NUMBERS = {"stdout": 1, "stderr": 2}


def entries(path: Path) -> list[dict[str, str]]:
    """The lines of a log; each must be whole."""
    text = path.read_bytes().decode()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def written(pieces: list[tuple[str, bytes]]) -> list[dict[str, str]]:
    """What a log holds after these pieces and the container's end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = JsonLog(str(path))
        for stream, data in pieces:
            log.write(NUMBERS[stream], data)
        log.flush()
        log.close()
        return entries(path)


def text(found: list[dict[str, str]], stream: str = "stdout") -> str:
    return "".join(entry["log"] for entry in found if entry["stream"] == stream)


def test_an_entry_is_dockers() -> None:
    before = time.time()
    (entry,) = written([("stdout", b"hello\n")])
    assert list(entry) == ["log", "stream", "time"]
    assert (entry["log"], entry["stream"]) == ("hello\n", "stdout")
    assert entry["time"].endswith("Z") and len(entry["time"]) == len("2026-01-02T03:04:05.000000006Z")
    assert before - 1 <= datetime.fromisoformat(entry["time"][:26] + "+00:00").timestamp() <= time.time() + 1


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a\n", "b\n"]),
        (b"\n\n", ["\n", "\n"]),
        (b"no end", ["no end"]),
        (b'quo"te\n', ['quo"te\n']),
        (b"back\\slash\n", ["back\\slash\n"]),
        (b"\\n is no newline\n", ["\\n is no newline\n"]),
        (b"\\\n\\\\\n", ["\\\n", "\\\\\n"]),
        (b'","stream":"\n', ['","stream":"\n']),
        (b"a\rb\x00c\x1b[0m\x0bd\x0ce\x85f\n", ["a\rb\x00c\x1b[0m\x0bd\x0ce\ufffdf\n"]),
        ("a\u2028b\u2029c\n".encode(), ["a\u2028b\u2029c\n"]),
        ("grün 도시락 🍱\n".encode(), ["grün 도시락 🍱\n"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd\n"]),
        (b"\xe2\x82\n", ["\ufffd\n"]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert [entry["log"] for entry in written([("stdout", data)])] == lines


def test_a_character_may_come_in_two_pieces() -> None:
    euro = "€\n".encode()
    for cut in (1, 2, 3):
        assert text(written([("stdout", euro[:cut]), ("stdout", euro[cut:])])) == "€\n"


def test_streams_do_not_mix() -> None:
    found = written([("stdout", b"out "), ("stderr", b"err "), ("stdout", b"put\n"), ("stderr", b"or\n")])
    assert [(entry["stream"], entry["log"]) for entry in found] == [("stdout", "out put\n"), ("stderr", "err or\n")]


@pytest.mark.parametrize("piece", [1000, 16383, 16384, 16385, 65536, 1 << 20])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_long_line_is_split_at_16_kib(piece: int, ending: bytes) -> None:
    data = b"x" * (3 * LONGEST + 5) + ending
    found = written([("stdout", data[at : at + piece]) for at in range(0, len(data), piece)])
    assert [len(entry["log"]) for entry in found] == [LONGEST, LONGEST, LONGEST, 5 + len(ending)]


def test_a_line_of_just_16_kib() -> None:
    assert [len(entry["log"]) for entry in written([("stdout", b"x" * (LONGEST - 1) + b"\n")])] == [LONGEST]
    assert [entry["log"] for entry in written([("stdout", b"x" * LONGEST + b"\n")])] == ["x" * LONGEST, "\n"]


@pytest.mark.parametrize("character", ["é", "€", "🍱"])
@pytest.mark.parametrize("shift", range(4))
def test_a_split_breaks_no_character(character: str, shift: int) -> None:
    line = "x" * shift + character * 20000
    for pieces in (
        [line.encode()],
        [(line + "\n").encode()],
        [line.encode()[at : at + 65536] for at in range(0, len(line.encode()), 65536)],
    ):
        found = written([("stdout", piece) for piece in pieces])
        assert text(found).rstrip("\n") == line
        assert all(len(entry["log"].encode()) <= LONGEST for entry in found)


alphabet = st.sampled_from([b"\n", b"a", b'"', b"\\", b"\x00", b"\xff", b"\xe2", b"\x82", b"\xac", "🍱".encode(), b"n"])
blocks = st.tuples(alphabet, st.sampled_from([1, 1, 1, 2, 3, 5461, 16383, 16384, 20000])).map(
    lambda pair: pair[0] * pair[1]
)
datas = st.lists(blocks, max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(datas, st.lists(st.integers(1, 70000), max_size=8), st.booleans())
def test_what_is_written_comes_back_whatever_the_pieces(data: bytes, cuts: list[int], other: bool) -> None:
    pieces: list[tuple[str, bytes]] = []
    at = 0
    for size in [*cuts, len(data)]:
        if data[at : at + size]:
            pieces.append(("stdout", data[at : at + size]))
        if other:
            pieces.append(("stderr", b"between\n"))
        at += size
    found = written(pieces)
    assert text(found) == data.decode("utf-8", "replace")
    assert text(found, "stderr") == "between\n" * (len(cuts) + 1 if other else 0)
    assert all(entry["log"] for entry in found)
    assert all("\n" not in entry["log"][:-1] for entry in found)


def test_a_quiet_prompt_is_logged_at_the_end() -> None:
    assert [entry["log"] for entry in written([("stdout", b"ok\n"), ("stdout", b"login: ")])] == ["ok\n", "login: "]


# Rotation


def rotated(path: Path) -> list[Path]:
    """Oldest first."""
    older = sorted((p for p in path.parent.glob(path.name + ".*")), key=lambda p: -int(p.suffix[1:]))
    return [*older, path]


@pytest.mark.parametrize("files", [1, 2, 3, 5])
@pytest.mark.parametrize("pieces", [1, 40])
def test_rotation_keeps_the_newest_files(tmp_path: Path, files: int, pieces: int) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path), max_size=2000, max_files=files)
    lines = [f"line {number}\n" for number in range(400)]
    step = len(lines) // pieces
    for at in range(0, len(lines), step):
        log.write(1, "".join(lines[at : at + step]).encode())
    log.flush()
    log.close()
    kept = rotated(path)
    assert len(kept) == files
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in kept)
    assert all(0 < p.stat().st_size <= 2000 for p in kept)
    said = [entry["log"] for p in kept for entry in entries(p)]
    assert said == lines[-len(said) :]
    if files > 1:
        assert len(said) * 80 > 2000 * (files - 1)


def test_an_entry_longer_than_the_limit_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(str(path), max_size=1000, max_files=2)
    for number in range(5):
        log.write(1, b"%d" % number + b"x" * 5000 + b"\n")
    log.close()
    assert [entries(p)[0]["log"][0] for p in rotated(path)] == ["3", "4"]


def test_a_log_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for number in range(30):
        log = JsonLog(str(path), max_size=1000, max_files=2)
        log.write(1, b"run %d\n" % number)
        log.close()
    said = [entry["log"] for p in rotated(path) for entry in entries(p)]
    assert said[-1] == "run 29\n"
    assert path.stat().st_size <= 1000
    assert len(rotated(path)) == 2


def test_a_rotation_that_fails_writes_nowhere_else(tmp_path: Path) -> None:
    """The old descriptor's number may be someone else's by then: the process's input, a client's socket."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = JsonLog(str(folder / "log"), max_size=300, max_files=2)
    log.write(1, b"a" * 100 + b"\n")
    os.unlink(folder / "log")
    folder.rmdir()
    log.write(1, b"b" * 200 + b"\n")
    bystander = os.open(tmp_path / "bystander", os.O_RDWR | os.O_CREAT)
    for _ in range(5):
        log.write(1, b"c" * 200 + b"\n")
    assert os.fstat(bystander).st_size == 0
    folder.mkdir()
    log.write(1, b"d" * 200 + b"\n")
    os.close(bystander)
    log.close()
    assert [entry["log"][0] for entry in entries(folder / "log")] == ["d"]


def test_a_full_disk_loses_entries_but_leaves_no_half_one(tmp_path: Path) -> None:
    """By RLIMIT_FSIZE, in a process of its own: as with a full disk a write stops short, then fails."""
    path = tmp_path / "log"
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        log = JsonLog(str(path))
        for number in range(50):
            log.write(1, b"line %d\n" % number)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.write(1, b"room again\n")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    said = [entry["log"] for entry in entries(path)]
    assert said[0] == "line 0\n"
    assert said[-1] == "room again\n"


def test_the_log_of_a_removed_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        JsonLog(str(tmp_path / "gone/log"))
    assert caught.value.errno == errno.ENOENT


def test_a_million_short_lines_are_quick(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"".join(b"%d\n" % number for number in range(1_000_000))
    log = JsonLog(str(path))
    begin = time.process_time()
    for at in range(0, len(data), 65536):
        log.write(1, data[at : at + 65536])
    assert time.process_time() - begin < 5
    log.close()
    with open(path, "rb") as file:
        assert sum(1 for _ in file) == 1_000_000
