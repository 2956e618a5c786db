"""Taking the raw connection out of the HTTP server: no byte lost, no side closed before its time."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from dosirak.engine.api import hijack, reply
from dosirak.engine.api.call import Call
from dosirak.engine.api.connection import ConnectionServer
from dosirak.engine.errors import EngineError

Handler = Callable[[Call], Awaitable[StreamResponse]]
HEAD = b"POST /exec/a/start HTTP/1.1\r\nHost: docker\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"


@asynccontextmanager
async def serving(path: Path, handler: Handler) -> AsyncIterator[Path]:
    """A server on a unix socket whose every request goes to `handler`."""

    async def handle(request: BaseRequest) -> StreamResponse:
        call = Call(request, None, (1, 51), {})  # type: ignore[arg-type]  # these handlers ask no room
        call.connection.request_begun(request)
        try:
            response = await handler(call)
        finally:
            call.connection.request_answered()
        if call.connection.is_last:
            response.force_close()
        return response

    connections = ConnectionServer(handle)
    server = await asyncio.get_running_loop().create_unix_server(connections, str(path / "s"))
    try:
        yield path / "s"
    finally:
        server.close()
        await connections.shutdown(0.1)


class Taker:
    """A handler that takes its connection and keeps it, as the runtime's monitor would."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[hijack.Stream] = asyncio.Queue()

    async def __call__(self, call: Call) -> StreamResponse:
        if call.request.body_exists:
            await call.json(dict[str, bool])
        stream, answer = await hijack.take(call, framed=False)
        stream.release()
        self.taken.put_nowait(stream)
        return answer


async def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, str(path))
    return client


async def read_head(client: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while not data.endswith(b"\r\n\r\n"):
        byte = await asyncio.wait_for(loop.sock_recv(client, 1), 5)
        assert byte, data
        data += byte
    return data


async def read_all(sock: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while part := await asyncio.wait_for(loop.sock_recv(sock, 65536), 5):
        data += part
    return data


async def test_bytes_right_behind_the_request_belong_to_the_stream(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(
            client, HEAD + UPGRADE + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}first"
        )
        assert b"101 UPGRADED" in await read_head(client)
        stream = await taker.taken.get()
        await loop.sock_sendall(client, b" second")
        client.shutdown(socket.SHUT_WR)
        assert stream.initial + await read_all(stream.sock) == b"first second"
        stream.sock.close()
        client.close()


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_a_request_that_comes_in_pieces_loses_nothing(tmp_path: Path, size: int) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    request = (
        HEAD + UPGRADE + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        sent = request + b"input"
        for at in range(0, len(sent), size):
            await loop.sock_sendall(client, sent[at : at + size])
            await asyncio.sleep(0)
        stream = await asyncio.wait_for(taker.taken.get(), 5)
        client.shutdown(socket.SHUT_WR)
        assert stream.initial + await read_all(stream.sock) == b"input"
        stream.sock.close()
        client.close()


async def test_a_client_that_half_closes_at_once_still_gets_the_output(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\nall there is")
        client.shutdown(socket.SHUT_WR)
        stream = await asyncio.wait_for(taker.taken.get(), 5)
        assert stream.initial + await read_all(stream.sock) == b"all there is"
        await loop.sock_sendall(stream.sock, b"answer")
        stream.sock.close()
        assert (await read_head(client)).startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert await read_all(client) == b"answer"
        client.close()


async def test_output_waits_until_the_head_was_read(tmp_path: Path) -> None:
    """docker-py loses what its first read finds behind the head."""

    async def hasty(call: Call) -> StreamResponse:
        stream, answer = await hijack.take(call, framed=False)
        stream.release()
        await hijack.until_read(stream.sock)
        await loop.sock_sendall(stream.sock, b"output")
        stream.sock.close()
        return answer

    loop = asyncio.get_running_loop()
    async with serving(tmp_path, hasty) as path:
        for _ in range(20):
            client = await connect(path)
            await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\n")
            await asyncio.sleep(0.005)
            assert (await loop.sock_recv(client, 8192)).endswith(b"\r\n\r\n")
            assert await read_all(client) == b"output"
            client.close()


async def test_output_may_end_while_input_goes_on(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\n")
        await read_head(client)
        stream = await taker.taken.get()
        await loop.sock_sendall(stream.sock, b"done")
        stream.sock.shutdown(socket.SHUT_WR)
        assert await read_all(client) == b"done"
        await loop.sock_sendall(client, b"still here")
        client.shutdown(socket.SHUT_WR)
        assert await read_all(stream.sock) == b"still here"
        stream.sock.close()
        client.close()


async def test_the_server_closing_its_descriptor_does_not_end_the_stream(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\n")
        await read_head(client)
        stream = await taker.taken.get()
    # The server is gone altogether.
    await asyncio.sleep(0.05)
    await loop.sock_sendall(client, b"ping")
    assert await asyncio.wait_for(loop.sock_recv(stream.sock, 10), 5) == b"ping"
    await loop.sock_sendall(stream.sock, b"pong")
    assert await asyncio.wait_for(loop.sock_recv(client, 10), 5) == b"pong"
    stream.sock.close()
    assert await read_all(client) == b""
    client.close()


async def test_a_client_without_upgrade_gets_200_and_the_same_stream(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(client, HEAD + b"\r\nGET looks like a request\r\n\r\n")
        head = await read_head(client)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"application/vnd.docker.raw-stream" in head
        stream = await taker.taken.get()
        client.shutdown(socket.SHUT_WR)
        assert stream.initial + await read_all(stream.sock) == b"GET looks like a request\r\n\r\n"
        stream.sock.close()
        client.close()


async def test_a_client_that_vanishes_leaves_a_stream_that_ends(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        client = await connect(path)
        await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\n")
        stream = await asyncio.wait_for(taker.taken.get(), 5)
        client.close()
        with pytest.raises(OSError):  # EPIPE or ECONNRESET, at the latest at the second write
            assert await read_all(stream.sock) == b""
            await loop.sock_sendall(stream.sock, b"x")
            await loop.sock_sendall(stream.sock, b"x")
        stream.sock.close()


async def descriptors(expected: int) -> int:
    """How many there are; so many are waited for."""
    deadline = time.monotonic() + 5
    while (found := len(os.listdir("/proc/self/fd"))) != expected and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return found


async def test_a_taken_connection_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    taker, loop = Taker(), asyncio.get_running_loop()
    async with serving(tmp_path, taker) as path:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            client = await connect(path)
            await loop.sock_sendall(client, HEAD + UPGRADE + b"\r\n")
            await read_head(client)
            (await taker.taken.get()).sock.close()
            client.close()
        assert await descriptors(before) == before


async def test_one_connection_serves_many_ordinary_requests(tmp_path: Path) -> None:
    async def hello(call: Call) -> StreamResponse:
        return reply.json({"path": call.request.path, "n": call.integer("n")})

    loop = asyncio.get_running_loop()
    async with serving(tmp_path, hello) as path:
        client = await connect(path)
        for number in range(3):
            await loop.sock_sendall(client, f"GET /a?n={number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await read_head(client)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            body = await asyncio.wait_for(loop.sock_recv(client, 100), 5)
            assert body == f'{{"path":"/a","n":{number}}}\n'.encode()
        client.close()


async def test_a_streaming_handler_ends_with_its_client(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def endless(call: Call) -> StreamResponse:
        try:
            response = await reply.stream(call)
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return response

    loop = asyncio.get_running_loop()
    async with serving(tmp_path, endless) as path:
        client = await connect(path)
        await loop.sock_sendall(client, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"chunked" in await read_head(client)
        client.close()
        await asyncio.wait_for(ended.wait(), 5)


async def hello(call: Call) -> StreamResponse:
    """Says after a while where it was asked."""
    await asyncio.sleep(0.02)
    return reply.json({"path": call.request.path})


async def test_a_client_that_half_closes_behind_its_request_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, hello) as path:
        client = await connect(path)
        await asyncio.get_running_loop().sock_sendall(client, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert (await read_all(client)).endswith(b'\r\n\r\n{"path":"/a"}\n')
        client.close()


async def test_all_requests_before_the_half_close_are_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, hello) as path:
        client = await connect(path)
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3))
        await asyncio.get_running_loop().sock_sendall(client, requests)
        client.shutdown(socket.SHUT_WR)
        answers = await read_all(client)
        assert [b'"/%d"' % number in answers for number in range(3)] == [True] * 3
        client.close()


async def test_a_client_that_half_closes_between_two_requests_is_let_go(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with serving(tmp_path, hello) as path:
        client = await connect(path)
        await loop.sock_sendall(client, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_head(client)
        await asyncio.wait_for(loop.sock_recv(client, 100), 5)
        client.shutdown(socket.SHUT_WR)
        assert await read_all(client) == b""
        client.close()


@pytest.mark.parametrize("target", ["/containers/create", "/exec/a/start"])
@pytest.mark.parametrize(
    "framed", [b'Content-Length: 100\r\n\r\n{"a":', b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n']
)
async def test_a_body_that_a_half_close_cuts_off_is_refused(tmp_path: Path, target: str, framed: bytes) -> None:
    async def reads(call: Call) -> StreamResponse:
        try:
            await call.json(dict[str, int])
        except EngineError as error:
            return reply.error(error.message, error.status)
        return reply.empty()

    async with serving(tmp_path, reads) as path:
        client = await connect(path)
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
        await asyncio.get_running_loop().sock_sendall(client, head + framed)
        client.shutdown(socket.SHUT_WR)
        answer = await read_all(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b'{"message":"invalid JSON: unexpected EOF"}\n')
        client.close()


async def test_a_stream_goes_on_behind_a_half_close_and_ends_with_its_client(tmp_path: Path) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    async def endless(call: Call) -> StreamResponse:
        try:
            response = await reply.stream(call)
            await asyncio.sleep(0.05)
            await response.write(b"later")
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return response

    async with serving(tmp_path, endless) as path:
        client = await connect(path)
        await loop.sock_sendall(client, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        await read_head(client)
        assert b"later" in await asyncio.wait_for(loop.sock_recv(client, 100), 5)
        assert not ended.is_set()
        client.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_half_closed_connections_leave_no_descriptor_behind(tmp_path: Path) -> None:
    async with serving(tmp_path, hello) as path:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            client = await connect(path)
            await asyncio.get_running_loop().sock_sendall(client, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            await read_all(client)
            client.close()
        assert await descriptors(before) == before
