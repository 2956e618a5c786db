"""Reading json-file logs: tails, rotation under the reader, torn lines, selections."""

from __future__ import annotations

import json

import pytest

from dosirak.engine.containers import logs
from dosirak.engine.containers.documents import HostConfig, LogConfig
from dosirak.engine.containers.logs import entries
from dosirak.engine.containers.logs.reader import LogReader
from dosirak.engine.containers.model import LogQuery
from dosirak.engine.supervision.logs.jsonlog import JsonLog


def line(text, stream="stdout", second=0):
    return json.dumps({"log": text + "\n", "stream": stream, "time": f"2026-01-01T00:00:{second:02}.000000000Z"}) + "\n"


def read(path, tail=None):
    found = []
    with LogReader(str(path), "json-file") as reader:
        reader.seek(tail)
        while some := reader.read():
            found += [entry.log.rstrip("\n") for entry in some]
    return found


@pytest.mark.parametrize(
    ("tail", "numbers"), [(None, range(10)), (0, []), (1, [9]), (3, [7, 8, 9]), (10, range(10)), (99, range(10))]
)
def test_tail(tmp_path, tail, numbers):
    path = tmp_path / "log"
    path.write_text("".join(line(str(number)) for number in range(10)))
    assert read(path, tail) == [str(number) for number in numbers]


def test_tail_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "_BACKWARDS", 64)
    path = tmp_path / "log"
    path.write_text("".join(line("x" * number) for number in range(200)))
    for tail in (1, 2, 7, 150, 199, 200):
        assert read(path, tail) == ["x" * number for number in range(200 - tail, 200)]


def test_tail_reaches_into_rotated_parts(tmp_path):
    (tmp_path / "log.2").write_text(line("0") + line("1"))
    (tmp_path / "log.1").write_text(line("2") + line("3"))
    (tmp_path / "log").write_text(line("4"))
    assert read(tmp_path / "log") == ["0", "1", "2", "3", "4"]
    for tail in range(6):
        assert read(tmp_path / "log", tail) == [str(number) for number in range(max(0, 5 - tail), 5)]


def test_a_missing_log_is_empty(tmp_path):
    assert read(tmp_path / "nothing") == []
    assert read(tmp_path / "nothing", 5) == []


def test_an_empty_log_is_empty(tmp_path):
    (tmp_path / "log").touch()
    assert read(tmp_path / "log", 5) == []


def test_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "log"
    path.write_text(line("a") + '{"log":"hal\n' + line("b") + '{"log":"unfinished')
    assert read(path) == ["a", "b"]


def test_a_reader_follows_through_rotations(tmp_path):
    path = str(tmp_path / "log")
    log = JsonLog(path, max_size=2000, max_files=4)
    found = []
    with LogReader(path, "json-file") as reader:
        reader.seek(None)
        for number in range(300):
            log.write(1, f"{number}\n".encode())
            if number % 7 == 0:
                while some := reader.read():
                    found += [int(entry.log) for entry in some]
        while some := reader.read():
            found += [int(entry.log) for entry in some]
    log.close()
    assert found == list(range(300))


def test_a_single_file_that_is_cut_goes_on_from_its_beginning(tmp_path):
    path = tmp_path / "log"
    path.write_text(line("a") * 10)
    with LogReader(str(path), "json-file") as reader:
        reader.seek(None)
        while reader.read():
            pass
        path.write_text(line("b"))
        assert [entry.log for entry in reader.read()] == ["b\n"]


class Plain:
    """As much of a container as reading its log needs."""

    task = None

    def __init__(self, path):
        host = HostConfig(log_config=LogConfig(type="json-file"))
        self.record = type("Record", (), {"log_path": str(path), "host_config": host})()


async def stream(path, *, framed=True, **query):
    return b"".join([piece async for piece in logs.stream(Plain(path), LogQuery(**query), framed=framed)])


def frame(stream_number, text):
    data = text.encode()
    return bytes((stream_number, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def both(tmp_path):
    path = tmp_path / "log"
    path.write_text(line("a", second=1) + line("b", second=2) + line("e", "stderr", 3) + line("c", second=4))
    return path


async def test_each_entry_has_a_frame_of_its_own(both):
    assert await stream(both) == frame(1, "a\n") + frame(1, "b\n") + frame(2, "e\n") + frame(1, "c\n")


async def test_one_stream_alone(both):
    assert await stream(both, stdout=False) == frame(2, "e\n")
    assert await stream(both, stderr=False, framed=False) == b"a\nb\nc\n"


async def test_timestamps_and_details(both):
    assert (await stream(both, stdout=False, timestamps=True, framed=False)) == b"2026-01-01T00:00:03.000000000Z e\n"
    assert (await stream(both, stdout=False, details=True, framed=False)) == b" e\n"


async def test_since_and_until(both):
    base = 1767225600
    assert await stream(both, since=base + 3, framed=False) == b"e\nc\n"
    assert await stream(both, until=base + 2, framed=False) == b"a\nb\n"
    assert await stream(both, since=base + 2, until=base + 3.5, framed=False) == b"b\ne\n"
    assert await stream(both, tail=3, since=base + 3, framed=False) == b"e\nc\n"


async def test_records_keep_their_bytes_and_times(tmp_path):
    path = tmp_path / "log"
    path.write_text(line("käse", second=1))
    found = [record async for record in logs.records(Plain(path), LogQuery())]
    assert [(record.stream, record.data, record.time) for record in found] == [
        ("stdout", "käse\n".encode(), "2026-01-01T00:00:01.000000000Z")
    ]
