"""`attach/ws`, as a browser uses it: a terminal, input and its end, the past, refusals, clients that vanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType, WSServerHandshakeError

from support.engines import Engine, wait_for

Docker = Callable[..., Any]
Connect = Callable[..., Any]
ALL = "stream=1&stdin=1&stdout=1&stderr=1"


@pytest.fixture
def connect(engine: Engine, busybox: str) -> Connect:
    """`connect("name", query)`: an attached client."""

    @asynccontextmanager
    async def connect(name: str, query: str = ALL, version: str = "v1.51") -> AsyncIterator[ClientWebSocketResponse]:
        async with (
            ClientSession(connector=UnixConnector(str(engine.socket))) as session,
            session.ws_connect(
                f"http://docker/{version}/containers/{name}/attach/ws?{query}", autoclose=False
            ) as client,
        ):
            yield client

    return connect


async def read(client: ClientWebSocketResponse, until: bytes | None = None) -> bytes:
    """What comes, up to `until` or to the end."""
    data = b""
    async with asyncio.timeout(20):
        while until is None or until not in data:
            message = await client.receive()
            if message.type is not WSMsgType.BINARY:
                assert until is None, data
                return data
            data += message.data
    return data


async def test_a_terminal(connect: Connect, docker: Docker) -> None:
    docker("run", "-dit", "--name", "box", "busybox", "sh")
    async with connect("box") as client:
        await client.send_bytes(b"stty -echo\n")
        await client.send_str("echo h\u00e9-$((1+1)); tty\n")
        assert b"h\xc3\xa9-2\r\n" in await read(client, b"/dev/")
        docker("exec", "box", "true")  # it goes on beside
        await client.send_bytes(b"exit 3\n")
        await read(client)
    assert docker("wait", "box").stdout.strip() == "3"


async def test_a_client_that_closes_a_terminal_leaves_it_running(connect: Connect, docker: Docker) -> None:
    docker("run", "-dit", "--name", "box", "busybox", "sh")
    for _ in range(3):
        async with connect("box") as client:
            await client.send_bytes(b"echo here-$((1+1))\n")
            await read(client, b"here-2")
            async with asyncio.timeout(5):
                await client.close()
            assert client.close_code == 1000
    async with connect("box", ALL + "&detachKeys=ctrl-x") as client:
        await client.send_bytes(b"\x18")
        await read(client)
    assert docker("inspect", "-f", "{{.State.Running}}", "box").stdout == "true\n"


async def test_a_close_ends_the_input_and_the_output_still_comes(connect: Connect, docker: Docker) -> None:
    docker("create", "-i", "--name", "sum", "busybox", "sh", "-c", "wc -c; echo err >&2; seq 100000 | tail -n 1")
    async with connect("sum") as client:
        docker("start", "sum")
        for _ in range(50):
            await client.send_bytes(b"x" * 10_000)
        await client._writer.close()  # no more than its frame: aiohttp's own close would no longer read
        assert await read(client) == b"500000\nerr\n100000\n"
    assert docker("wait", "sum").stdout.strip() == "0"


async def test_a_client_that_attached_before_the_start_misses_nothing(connect: Connect, docker: Docker) -> None:
    docker("create", "--name", "all", "busybox", "seq", "20000")
    async with connect("all", "stream=1&stdout=1") as client:
        docker("start", "all")
        assert await read(client) == b"".join(b"%d\n" % number for number in range(1, 20_001))


async def test_the_past_however_long(connect: Connect, docker: Docker) -> None:
    docker("run", "--name", "past", "busybox", "sh", "-c", "seq 200000; echo err >&2")
    numbers = b"".join(b"%d\n" % number for number in range(1, 200_001))
    async with connect("past", "logs=1&stdout=1") as client:
        assert await read(client) == numbers
    async with connect("past", "logs=1", version="v1.41") as client:  # then all streams were meant
        assert sorted((await read(client)).split()) == sorted([*numbers.split(), b"err"])


async def test_the_past_and_what_comes(connect: Connect, docker: Docker) -> None:
    docker("run", "-di", "--name", "both", "busybox", "sh", "-c", "seq 100000; read x; echo $x")
    wait_for(lambda: docker("logs", "--tail", "1", "both").stdout == "100000\n", 20)
    async with connect("both", "logs=1&" + ALL) as client:
        await read(client, b"\n100000\n")
        await client.send_bytes(b"now\n")
        assert await read(client) == b"now\n"


async def test_refusals_come_before_the_upgrade_or_as_the_reason_of_the_end(connect: Connect, docker: Docker) -> None:
    docker("run", "-d", "--name", "mute", "--log-driver", "none", "busybox", "sleep", "100")
    for name, query, status in (("nobody", ALL, 404), ("mute", ALL + "&detachKeys=no-such-key", 400)):
        with pytest.raises(WSServerHandshakeError) as caught:
            async with connect(name, query):
                pass
        assert caught.value.status == status
    async with connect("mute", "logs=1&stdout=1") as client:
        end = await client.receive(timeout=20)
        assert (end.data, end.extra) == (1011, "configured logging driver does not support reading")
    docker("pause", "mute")
    with pytest.raises(WSServerHandshakeError) as caught:
        async with connect("mute"):
            pass
    assert caught.value.status == 409


async def test_a_client_that_vanishes_leaves_nothing_behind(connect: Connect, docker: Docker, engine: Engine) -> None:
    docker("run", "-di", "--name", "still", "busybox", "sleep", "100")

    opened = Path(f"/proc/{engine.pid}/fd")

    def descriptors() -> int:
        return len(list(opened.iterdir()))

    async with connect("still") as client:
        await client.send_bytes(b"x")
    before = descriptors()
    for _ in range(10):
        async with connect("still") as client:
            await client.send_bytes(b"x")
            client._conn.transport.abort()
    wait_for(lambda: descriptors() < before + 5, 10, "the descriptors to be closed")
    assert docker("inspect", "-f", "{{.State.Running}}", "still").stdout == "true\n"
