"""`attach`: a client's socket goes to the monitor, now or with the next start; with `logs`, the past comes first."""

from __future__ import annotations

import asyncio

from dosirak.engine.containers import logs as logbook
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import LogQuery
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict
from dosirak.engine.runtime.model import Attach


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
    room.tell(live, "attach")
    if logs:
        await _replay(live, client)
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


async def _replay(live: Live, client: Attach) -> None:
    """Send what was logged; a client that goes meanwhile is found out by whoever writes next."""
    client.sock.setblocking(False)
    loop = asyncio.get_running_loop()
    query = LogQuery(stdout=client.stdout, stderr=client.stderr)
    try:
        async for chunk in logbook.stream(live, query, framed=client.framed):
            await loop.sock_sendall(client.sock, chunk)
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
