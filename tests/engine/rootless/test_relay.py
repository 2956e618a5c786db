"""Published ports carried by the keeper: real sockets, in this process's own network."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from dosirak.engine.rootless.relay import TcpPort, UdpPort
from dosirak.engine.supervision.loop import Loop


@pytest.fixture
def running() -> Iterator[Callable[[Callable[[Loop], object]], object]]:
    """Runs a loop in a thread; called with what makes something on it before it runs."""
    loop = Loop()
    thread = threading.Thread(target=loop.run, daemon=True)
    made: list = []

    def start(make: Callable[[Loop], object]) -> object:
        made.append(make(loop))
        wake, waker = os.pipe()
        loop.watch(wake, 1, lambda _: loop.stop())
        made.append(waker)
        thread.start()
        return made[0]

    yield start
    os.write(made[1], b"x")
    thread.join(10)
    made[0].close()


def bound(kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def test_a_connection_is_carried_both_ways_and_its_ends_one_by_one(running: Callable) -> None:
    server, outside = bound(), bound()
    server.listen()
    running(lambda loop: TcpPort(loop, outside.dup(), server.getsockname()))
    with socket.create_connection(outside.getsockname(), 10) as client:
        inside, _ = server.accept()
        inside.settimeout(10)
        client.sendall(b"question")
        assert inside.recv(100) == b"question"
        client.shutdown(socket.SHUT_WR)
        assert inside.recv(100) == b""
        inside.sendall(b"answer")  # the other way is open yet
        assert client.recv(100) == b"answer"
        inside.close()
        assert client.recv(100) == b""


def test_a_lot_arrives_whole_also_when_the_reader_is_slow(running: Callable) -> None:
    server, outside = bound(), bound()
    server.listen()
    running(lambda loop: TcpPort(loop, outside.dup(), server.getsockname()))
    data = os.urandom(1 << 20) * 8
    with socket.create_connection(outside.getsockname(), 10) as client:
        inside, _ = server.accept()
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        inside.settimeout(10)
        found = bytearray()
        while piece := inside.recv(4096 if len(found) < 1 << 19 else 1 << 20):
            found += piece
        sender.join(10)
        assert bytes(found) == data
        inside.close()


def test_who_knocks_at_a_port_that_nobody_serves_is_hung_up_on(running: Callable) -> None:
    outside, closed = bound(), bound()
    target = closed.getsockname()
    closed.close()
    running(lambda loop: TcpPort(loop, outside.dup(), target))
    with socket.create_connection(outside.getsockname(), 10) as client:
        client.settimeout(10)
        assert client.recv(10) == b""


def test_datagrams_of_two_clients_find_back_to_each(running: Callable) -> None:
    server, outside = bound(socket.SOCK_DGRAM), bound(socket.SOCK_DGRAM)
    running(lambda loop: UdpPort(loop, outside.dup(), server.getsockname()))
    one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for client, word in ((one, b"one"), (other, b"other")):
        client.settimeout(10)
        client.sendto(word, outside.getsockname())
        data, back = server.recvfrom(100)
        server.sendto(data * 2, back)
    assert one.recv(100) == b"oneone"
    assert other.recv(100) == b"otherother"
