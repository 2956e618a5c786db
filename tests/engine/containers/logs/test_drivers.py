"""Both drivers through the reader: tails over parts, compressed or not, and following while the log is rotated."""

from __future__ import annotations

import gzip
import os
import threading
from collections import deque
from pathlib import Path

import pytest

from dosirak.engine.containers.logs.entries import FORMATS
from dosirak.engine.containers.logs.reader import LogReader
from dosirak.engine.supervision.logs.jsonlog import JsonLog
from dosirak.engine.supervision.logs.locallog import LocalLog

KINDS = {"json-file": JsonLog, "local": LocalLog}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def lines(reader):
    """Everything there is now."""
    said = ""
    while some := reader.read():
        said += "".join(entry.log for entry in some)
    return said


def read(path, kind, tail=None):
    with LogReader(str(path), kind) as reader:
        reader.seek(tail)
        return lines(reader)


def numbers(first, last):
    return "".join(f"{number}\n" for number in range(first, last))


def compress(path):
    """As the compressor leaves it."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    state = path.stat()
    os.utime(packed, ns=(state.st_atime_ns, state.st_mtime_ns))
    path.unlink()


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("packed", [False, True])
def test_tails_reach_over_parts_and_records(tmp_path, kind, piece, packed):
    path = tmp_path / "log"
    log = KINDS[kind](str(path), max_size=4000 if kind == "json-file" else 1000, max_files=50, compressed=True)
    for first in range(0, 1000, piece):
        log.write(1, numbers(first, min(1000, first + piece)).encode())
    log.close()
    assert (tmp_path / "log.2").exists()
    if packed:
        compress(tmp_path / "log.1")
        compress(tmp_path / "log.2")
    assert read(path, kind) == numbers(0, 1000)
    for tail in (0, 1, 2, 6, 7, 8, 100, 500, 999, 1000, 5000):
        assert read(path, kind, tail) == numbers(max(0, 1000 - tail), 1000)


def test_an_unfinished_last_line_counts(tmp_path, kind):
    log = KINDS[kind](str(tmp_path / "log"))
    log.write(1, b"a\nb\nc")
    log.flush()
    log.close()
    assert read(tmp_path / "log", kind, 2) == "b\nc"


def test_parts_that_are_compressed_while_they_are_read_come_once(tmp_path, kind):
    path = tmp_path / "log"
    log = KINDS[kind](str(path), max_size=2000, max_files=50, compressed=True)
    for number in range(200):
        log.write(1, numbers(number, number + 1).encode())
    with LogReader(str(path), kind) as reader:
        reader.seek(None)
        said = "".join(entry.log for entry in reader.read())
        for part in sorted(tmp_path.glob("log.?")):
            compress(part)
        log.write(1, b"200\n")
        assert said + lines(reader) == numbers(0, 201)
    log.close()


def test_a_damaged_compressed_part_is_left_out(tmp_path, kind):
    path = tmp_path / "log"
    log = KINDS[kind](str(path), max_size=600, max_files=3, compressed=True)
    for number in range(50):
        log.write(1, numbers(number, number + 1).encode())
    log.close()
    compress(tmp_path / "log.1")
    (tmp_path / "log.1.gz").write_bytes((tmp_path / "log.1.gz").read_bytes()[:50])
    assert read(path, kind).endswith("49\n")


@pytest.mark.parametrize("files", [1, 2, 3])
def test_nothing_is_lost_or_doubled_while_it_is_rotated_at_full_speed(tmp_path, kind, files):
    """The files are passed as a monitor passes them; the reader is far slower than the writer."""
    path, passed = str(tmp_path / "log"), deque()
    log = KINDS[kind](path, max_size=3000, max_files=files)
    log.on_rotate = lambda fd: passed.append(os.dup(fd))

    def write():
        for first in range(0, 20_000, 10):
            log.write(1, numbers(first, first + 10).encode())

    with LogReader(path, kind, passed) as reader:
        reader.seek(None)
        writer = threading.Thread(target=write)
        writer.start()
        said = ""
        while writer.is_alive():
            said += lines(reader)
        writer.join()
        said += lines(reader)
    log.close()
    while passed:
        os.close(passed.popleft())
    assert said == numbers(0, 20_000)


@pytest.fixture
def followed(tmp_path, kind):
    """A log of two small files, and what its monitor passes to a reader that has begun to follow."""
    log = KINDS[kind](str(tmp_path / "log"), max_size=3000, max_files=2)
    log.write(1, numbers(0, 10).encode())
    passed = deque([os.dup(log.fd)])
    yield log, passed
    log.close()
    while passed:
        os.close(passed.popleft())


def fill(log, first, last):
    for number in range(first, last, 10):
        log.write(1, numbers(number, number + 10).encode())


@pytest.mark.parametrize("tail", [None, 5])
def test_the_file_that_was_passed_first_is_read_though_its_name_has_moved_on_and_gone(followed, kind, tail):
    log, passed = followed
    log.on_rotate = lambda fd: passed.append(os.dup(fd))
    fill(log, 10, 2000)
    assert len(passed) > 3
    first = FORMATS[kind].parse(Path(f"/proc/self/fd/{passed[0]}").read_bytes())
    full = sum(entry.log.count("\n") for entry in first)
    with LogReader(log.path, kind, passed, coming=lambda: True) as reader:
        reader.seek(tail)
        assert lines(reader) == numbers(0 if tail is None else full - tail, 2000)


def test_files_whose_descriptors_are_late_are_waited_for(followed, kind):
    """By the names there are, a later one looks like the next."""
    log, passed = followed
    late = []
    log.on_rotate = lambda fd: late.append(os.dup(fd))
    with LogReader(log.path, kind, passed, coming=lambda: True) as reader:
        reader.seek(None)
        fill(log, 10, 2000)
        said = lines(reader)
        passed += late
        assert said + lines(reader) == numbers(0, 2000)
    assert len(late) > 2


def test_where_descriptors_are_missing_the_names_have_to_do(followed, kind):
    log, passed = followed
    with LogReader(log.path, kind, passed) as reader:
        reader.seek(None)
        assert lines(reader) == numbers(0, 10)
        fill(log, 10, 2000)
        said = lines(reader)
    assert said.startswith("10\n") and said.endswith("\n1999\n")


def test_reading_by_names_alone_skips_and_doubles_nothing_that_is_still_there(tmp_path, kind):
    path = str(tmp_path / "log")
    log = KINDS[kind](path, max_size=3000, max_files=120)

    def write():
        for first in range(0, 4_000, 10):
            log.write(1, numbers(first, first + 10).encode())

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(8):
        said = read(path, kind)
        assert said == numbers(0, said.count("\n"))
    writer.join()
    log.close()
    assert read(path, kind) == numbers(0, 4_000)
