"""`attach`: a client's socket goes to the monitor, now or with the next start; with `logs`, the past comes first.

Of a running container both are one stream without a gap: the monitor takes the client at once and keeps its output
back, says how far the log goes at that moment (its one thread writes both), and lets go when the service has sent the
log up to there. That it has, or has died, the monitor sees by a socket of which the service closes the other end.
"""

from __future__ import annotations

import asyncio
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

# Seconds in which a monitor answers, unless it is stopped.
_ANSWER_SECONDS = 2.0


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
    if logs and stream and live.task is not None:
        await _attach_after_log(live, client)
        return
    if logs:
        await _replay(live, client, client.sock)
    if not stream:
        client.sock.close()
        return
    if live.task is None:
        live.attaches.append(client)
        return
    try:
        await live.task.attach(client)
    except ProcessLookupError:
        client.sock.close()  # it has just ended


async def _attach_after_log(live: Live, client: Attach) -> None:
    assert live.task is not None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with client.sock.dup() as sock, ours:
        try:
            with theirs:
                await live.task.attach(client, theirs)
            files, end = await _told(ours)
        except ProcessLookupError:
            files, end = deque(), -1  # it has just ended: all of the log
        try:
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
        await asyncio.wait_for(told.wait(), _ANSWER_SECONDS)
        data, fds = wire.receive(gate, 1)
    except (TimeoutError, ConnectionResetError):
        return deque(), -1
    finally:
        loop.remove_reader(gate.fileno())
    return deque(fds), wire.unpack(data)["size"] if fds else -1


async def _replay(
    live: Live, client: Attach, sock: socket.socket, files: deque[int] | None = None, end: int = -1
) -> None:
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
