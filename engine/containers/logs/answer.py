"""`logs`: choosing, following, and the bytes of the answer. Files are read in a thread, a chunk at a time."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack
from functools import cache
from urllib.parse import quote_plus

from dosirak.engine.containers.live import Live
from dosirak.engine.containers.logs.attributes import attributes
from dosirak.engine.containers.logs.entries import Entry, line_count
from dosirak.engine.containers.logs.reader import LogReader
from dosirak.engine.containers.model import LogQuery, LogRecord
from dosirak.engine.errors import Conflict, InvalidRequest, NotSupported
from dosirak.engine.go import rfc3339
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.supervision.following import Follower

_STREAMS = {"stdout": 1, "stderr": 2}
_HEAD = struct.Struct(">BxxxL")
# Most lines are shorter (characters).
_SHORT = 1024


def check(live: Live, query: LogQuery) -> None:
    """Raises InvalidRequest, Conflict, NotSupported in Docker's words."""
    if not (query.stdout or query.stderr):
        raise InvalidRequest("You must choose at least one stream")
    if live.record.state.removing or live.record.state.dead:
        raise Conflict("can not get logs from container which is dead or marked for removal")
    if not live.record.log_path:
        raise NotSupported("configured logging driver does not support reading")


async def records(live: Live, query: LogQuery) -> AsyncIterator[LogRecord]:
    """See `Containers.logs`."""
    async for batch in _batches(live, query):
        for entry in batch:
            yield LogRecord(entry.stream, entry.time, _bytes(entry.log))


async def stream(
    live: Live, query: LogQuery, *, framed: bool, files: deque[int] | None = None, end: int = -1
) -> AsyncIterator[bytes]:
    """See `Containers.log_stream`. `framed`: with Docker's 8-byte header before each piece; `files`, `end`: see
    `LogReader`."""
    local = live.record.host_config.log_config.type == "local"
    # In a json-file each entry has them; in a local log they are not repeated.
    common = _details(attributes(live.record)) if query.details and local else ""
    async for batch in _batches(live, query, files, end):
        yield _encode(batch, query, common, framed=framed, local=local) if batch else b""


def _encode(batch: list[Entry], query: LogQuery, common: str, *, framed: bool, local: bool) -> bytes:
    """The answer's bytes. A frame a line, as in Docker: who uses docker-py takes each frame for one."""
    texts = [entry.log for entry in batch]
    if query.timestamps or query.details:
        texts = [_marked(entry, query, common) for entry in batch]
    if not framed:
        return _bytes("".join(texts))
    numbers = [_STREAMS.get(entry.stream, 1) for entry in batch]
    if local:
        numbers, texts = _by_line(numbers, texts)
    return _frames(numbers, texts)


def _by_line(numbers: list[int], texts: list[str]) -> tuple[list[int], list[str]]:
    """Entries of a local log may have many lines."""
    by_line: list[str] = []
    of_line: list[int] = []
    for number, text in zip(numbers, texts, strict=True):
        *lines, last = text.split("\n")
        by_line += [line + "\n" for line in lines]
        if last:
            by_line.append(last)
        of_line += [number] * (len(by_line) - len(of_line))
    return of_line, by_line


def _frames(numbers: list[int], texts: list[str]) -> bytes:
    lengths = list(map(len, texts))
    if max(lengths) < _SHORT and all(map(str.isascii, texts)):
        # Heads as characters below 256, found by length and encoded with the texts all at once: a fifth of the time.
        parts = [""] * (2 * len(texts))
        if numbers.count(numbers[0]) == len(numbers):
            parts[::2] = map(_heads(numbers[0]).__getitem__, lengths)
        else:
            parts[::2] = [_heads(number)[length] for number, length in zip(numbers, lengths, strict=True)]
        parts[1::2] = texts
        return "".join(parts).encode("latin-1")
    bodies = zip(numbers, map(_bytes, texts), strict=True)
    return b"".join([part for number, body in bodies for part in (_HEAD.pack(number, len(body)), body)])


@cache
def _heads(number: int) -> list[str]:
    """The 8 bytes in front of a text, by the text's length."""
    return [_HEAD.pack(number, length).decode("latin-1") for length in range(_SHORT)]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _marked(entry: Entry, query: LogQuery, common: str) -> str:
    """Each line of the entry with its time and its attributes in front."""
    mark = f"{entry.time} " if query.timestamps else ""
    if query.details:
        mark += f"{_details(entry.attrs) if entry.attrs else common} "
    body = entry.log.removesuffix("\n")
    return mark + body.replace("\n", "\n" + mark) + entry.log[len(body) :]


def _details(found: dict[str, str]) -> str:
    """As moby's httputils writes them: sorted, escaped like a query."""
    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(found.items()))


async def _batches(
    live: Live, query: LogQuery, files: deque[int] | None = None, end: int = -1
) -> AsyncIterator[list[Entry]]:
    """The chosen entries; an empty batch first: the log is open, and from there on the container may be removed."""
    choose, record = _Choice(query), live.record
    with ExitStack() as stack:
        follower = stack.enter_context(live.task.follow_log()) if query.follow and live.task is not None else None
        grown = aiter(_grown(follower, query.until)) if follower is not None else None
        if grown is not None:
            await anext(grown, None)  # from here on no new file escapes
        files = follower.files if follower is not None else files
        driver = record.host_config.log_config.type
        reader = stack.enter_context(LogReader(record.log_path, driver, files, end, lambda: _coming(follower, grown)))
        await in_thread(reader.seek, query.tail)
        yield []
        # Without `follow`, what is written meanwhile is none of the last lines.
        left = query.tail if grown is None else None
        while True:
            while (left is None or left > 0) and (entries := await in_thread(reader.read)):
                if left is not None:
                    entries, left = _first_lines(entries, left)
                if chosen := choose(entries):
                    yield chosen
            if grown is None:
                return
            try:
                await anext(grown)
            except StopAsyncIteration:
                grown = None  # what was written last is read once more


def _coming(follower: Follower | None, grown: AsyncIterator[None] | None) -> bool:
    """Whether each new file comes by its descriptor yet."""
    return follower is not None and grown is not None and not follower.missed


def _first_lines(entries: list[Entry], count: int) -> tuple[list[Entry], int]:
    """The entries with the first `count` lines, and how many lines are wanted still."""
    kept = []
    for entry in entries:
        if count <= 0:
            break
        lines = line_count(entry.log.encode("utf-8", "surrogateescape"))
        if lines > count:
            entry.log = "".join(f"{line}\n" for line in entry.log.split("\n")[:count])
        kept.append(entry)
        count -= lines
    return kept, max(0, count)


async def _grown(follower: Follower, until: float) -> AsyncIterator[None]:
    """Yields when there may be more to read, until the process ends or `until` has come."""
    while True:
        # Not asyncio.timeout around a yield: it would cancel whoever reads this generator.
        left = until - time.time() if until else None
        try:
            await asyncio.wait_for(anext(follower), left)
        except (TimeoutError, StopAsyncIteration):
            return
        yield


class _Choice:
    """Which entries the query wants. Times are compared as text: the log writes them all with nine digits, in UTC."""

    def __init__(self, query: LogQuery) -> None:
        self._stream = None if query.stdout and query.stderr else "stdout" if query.stdout else "stderr"
        self._since = _timestamp(query.since) if query.since else ""
        self._until = _timestamp(query.until) if query.until else ""

    def __call__(self, entries: list[Entry]) -> list[Entry]:
        if self._stream:
            entries = [entry for entry in entries if entry.stream == self._stream]
        if self._since:
            entries = [entry for entry in entries if entry.time >= self._since]
        if self._until:
            entries = [entry for entry in entries if entry.time <= self._until]
        return entries


def _timestamp(seconds: float) -> str:
    return rfc3339(int(seconds) * 10**9 + int(seconds % 1 * 1e9))
