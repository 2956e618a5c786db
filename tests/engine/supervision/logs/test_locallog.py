"""The local log: any bytes come back as they were, also after the machine went down in the middle of a record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.containers.logs.entries import LocalFormat
from dosirak.engine.supervision.logs.locallog import LocalLog


def records(path: Path) -> list[tuple[str, bytes]]:
    """Stream and lines of each record of one file."""
    data = path.read_bytes()
    assert LocalFormat().whole(data) == len(data)
    return [(entry.stream, entry.log.encode("utf-8", "surrogateescape")) for entry in LocalFormat().parse(data)]


def test_lines_and_streams(tmp_path: Path) -> None:
    log = LocalLog(str(tmp_path / "log"))
    for stream, data in ((1, b"out "), (2, b"err\nor"), (1, b"put\nmore\n")):
        log.write(stream, data)
    log.flush()
    log.close()
    assert records(tmp_path / "log") == [("stderr", b"err\n"), ("stdout", b"out put\nmore\n"), ("stderr", b"or")]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40).map(lambda data: data * 900)), max_size=8))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, bytes]]) -> None:
    path = tmp_path_factory.mktemp("local") / "log"
    log = LocalLog(str(path))
    for stream, data in pieces:
        log.write(stream, data)
    log.flush()
    log.close()
    for number, name in ((1, "stdout"), (2, "stderr")):
        wanted = b"".join(data for stream, data in pieces if stream == number)
        assert b"".join(data for stream, data in records(path) if stream == name) == wanted


@pytest.mark.parametrize("piece", [50, 65536])
def test_no_file_is_larger_than_allowed(tmp_path: Path, piece: int) -> None:
    log = LocalLog(str(tmp_path / "log"), max_size=3000, max_files=4)
    data = b"".join(b"line %d\n" % number for number in range(5000))
    for at in range(0, len(data), piece):
        log.write(1, data[at : at + piece])
    log.close()
    names = ["log.3", "log.2", "log.1", "log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).stat().st_size <= 3000 for name in names)
    said = b"".join(text for name in names for _, text in records(tmp_path / name))
    assert data.endswith(said) and len(said) > 5000


@pytest.mark.parametrize("cut", [1, 4, 5, 12, 20])
def test_a_torn_record_is_cut_off_before_more_is_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    for text in (b"one\n", b"two\n"):
        log = LocalLog(str(path))
        log.write(1, text)
        log.close()
    os.truncate(path, path.stat().st_size - cut)
    log = LocalLog(str(path))
    log.write(1, b"three\n")
    log.close()
    assert records(path) == [("stdout", b"one\n"), ("stdout", b"three\n")]


@pytest.mark.parametrize("garbage", [b"x", b"\xff" * 100, b"\0" * 17])
def test_garbage_does_not_keep_a_container_from_starting(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(garbage)
    log = LocalLog(str(path))
    log.write(1, b"fine\n")
    log.close()
    assert records(path)[-1] == ("stdout", b"fine\n")
