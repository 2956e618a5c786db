"""`attach`: a client's socket goes to the monitor, now or with the next start; with `logs`, the past comes first.

Both are one stream without a gap. The past is sent in the background, so a client that does not read it holds up
neither a start nor who attaches it. Meanwhile the monitor has the client and keeps its output back, until the service
closes the other end of a socket, the client's gate: it has sent the past, or has died. How far the past goes, a running
container's monitor says at the moment it takes the client (its one thread writes the log, too); that of a container
that does not run goes to the log's end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections import deque

from dosirak.engine.containers import logs as logbook
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import LogQuery
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict
from dosirak.engine.supervision import wire
from dosirak.engine.supervision.model import Attach


def check(live: Live, ref: str) -> None:
    """Raises Conflict, in Docker's words, when a client can't attach now."""
    state = live.record.state
    if state.paused:
        raise Conflict(f"container {ref} is paused, unpause the container before attach")
    if state.restarting:
        raise Conflict(f"container {ref} is restarting, wait until the container is running")


async def attach(room: Room, live: Live, ref: str, client: Attach, *, logs: bool, stream: bool) -> None:
    """See `Containers.attach`."""
    check(live, ref)
    logs = logs and (client.stdout or client.stderr)
    if logs:
        logbook.check(live, LogQuery(stdout=client.stdout, stderr=client.stderr))
    room.tell(live, "attach")
    if logs:
        await live.launched()
        client = _after_the_past(room, live, client)
    if not stream:
        client.close()
        return
    if live.task is None:
        live.attaches.append(client)
        return
    try:
        await live.task.attach(client)
    except ProcessLookupError:
        client.close()  # it has just ended


def _after_the_past(room: Room, live: Live, client: Attach) -> Attach:
    """Begin to send the client what was logged. Returns it with a gate that opens when that is done."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    place = None if live.task is not None else _end_of_log(live)
    sock = client.sock.dup()
    room.supervise(_show_past(live, client, sock, ours, place), f"log of {live.record.short_id}, for a client")
    return dataclasses.replace(client, gate=theirs)


def _end_of_log(live: Live) -> tuple[deque[int], int]:
    """The log's newest file and its size, of a container that does not run; no file and 0 when it never ran."""
    try:
        fd = os.open(live.record.log_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return deque(), 0
    return deque([fd]), os.fstat(fd).st_size


async def _show_past(
    live: Live, client: Attach, sock: socket.socket, gate: socket.socket, place: tuple[deque[int], int] | None
) -> None:
    with sock, gate:
        files, end = place or await _told(gate)
        try:
            if files or end:
                await _replay(live, client, sock, files, end)
        finally:
            for fd in files:
                os.close(fd)


async def _told(gate: socket.socket) -> tuple[deque[int], int]:
    """How far the log goes: its file and how many bytes of it; no file and -1 when there is no telling."""
    gate.setblocking(False)
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(gate.fileno(), told.set)
    try:
        await told.wait()
        data, fds = wire.receive(gate, 1)
    except ConnectionResetError:
        return deque(), -1
    finally:
        loop.remove_reader(gate.fileno())
    return deque(fds), wire.unpack(data)["size"] if fds else -1


async def _replay(live: Live, client: Attach, sock: socket.socket, files: deque[int], end: int) -> None:
    """Send what was logged; a client that goes meanwhile is found out by whoever writes next."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    query = LogQuery(stdout=client.stdout, stderr=client.stderr)
    try:
        async for chunk in logbook.stream(live, query, framed=client.framed, files=files, end=end):
            await loop.sock_sendall(sock, chunk)
    except OSError:
        return


async def flush(live: Live) -> None:
    """Hand over the clients that came while the start was under way."""
    clients, live.attaches = live.attaches, []
    for client in clients:
        try:
            assert live.task is not None
            await live.task.attach(client)
        except ProcessLookupError:
            continue  # `Task.attach` has closed the socket
