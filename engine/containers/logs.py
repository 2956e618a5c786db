"""`logs`: choosing, following, and the bytes of the answer. Large logs are read in a thread, a chunk at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import groupby

from dosirak.engine.containers.live import Live
from dosirak.engine.containers.logfile import Entry, LogReader, parse
from dosirak.engine.containers.model import LogQuery, LogRecord
from dosirak.engine.errors import Conflict, InvalidRequest, NotSupported
from dosirak.engine.runtime.client import Task

_STREAMS = {"stdout": 1, "stderr": 2}


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
            yield LogRecord(entry.stream, entry.time, entry.log.encode())


async def stream(live: Live, query: LogQuery, *, framed: bool) -> AsyncIterator[bytes]:
    """See `Containers.log_stream`. `framed`: with Docker's 8-byte header before each piece."""
    async for batch in _batches(live, query):
        yield _encode(batch, query, framed=framed)


def _encode(batch: list[Entry], query: LogQuery, *, framed: bool) -> bytes:
    """The answer's bytes. Neighbouring entries of one stream share a frame: clients only see the stream."""
    prefix = [f"{entry.time} " for entry in batch] if query.timestamps else [""] * len(batch)
    if query.details:
        prefix = [f"{text} " for text in prefix]  # no driver of ours adds any: Docker writes an empty list
    if not framed:
        return "".join([text + entry.log for text, entry in zip(prefix, batch, strict=True)]).encode()
    pieces = []
    for name, group in groupby(zip(prefix, batch, strict=True), key=lambda pair: pair[1].stream):
        body = "".join([text + entry.log for text, entry in group]).encode()
        pieces += [bytes((_STREAMS.get(name, 1), 0, 0, 0)), len(body).to_bytes(4, "big"), body]
    return b"".join(pieces)


async def _batches(live: Live, query: LogQuery) -> AsyncIterator[list[Entry]]:
    choose = _Choice(query)
    with LogReader(live.record.log_path) as reader:
        await asyncio.to_thread(reader.seek, query.tail)
        yield []  # open: from here on the container may be removed
        task = live.task if query.follow else None
        if task is not None:
            async for _ in _grown(task, query.until):
                async for batch in _read_all(reader, choose):
                    yield batch
        async for batch in _read_all(reader, choose):
            yield batch


async def _grown(task: Task, until: float) -> AsyncIterator[None]:
    """Yields when there may be more to read, until the process ends or `until` has come."""
    grown = aiter(task.follow_log())
    while True:
        # Not asyncio.timeout around a yield: it would cancel whoever reads this generator.
        left = until - time.time() if until else None
        try:
            await asyncio.wait_for(anext(grown), left)
        except (TimeoutError, StopAsyncIteration):
            return
        yield


async def _read_all(reader: LogReader, choose: _Choice) -> AsyncIterator[list[Entry]]:
    while True:
        data = reader.read()
        if not data:
            return
        # Parsing a large chunk takes milliseconds: not on the event loop.
        found = choose(parse(data)) if len(data) < 65536 else await asyncio.to_thread(_parse_chosen, data, choose)
        if found:
            yield found


def _parse_chosen(data: bytes, choose: _Choice) -> list[Entry]:
    return choose(parse(data))


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
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1e9):09d}Z"
