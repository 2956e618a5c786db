"""Requests that are broken as HTTP or as JSON, on every route with a body; what they cost is given back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine, wait_for
from support.rawhttp import connect, exchange, request, statuses

JSON = "Content-Type: application/json"
BODIES = [
    ("POST", "/containers/create"),
    ("POST", "/containers/box/exec"),
    ("POST", "/containers/box/update"),
    ("POST", "/networks/create"),
    ("POST", "/networks/bridge/connect"),
    ("POST", "/networks/bridge/disconnect"),
    ("POST", "/volumes/create"),
    ("POST", "/exec/nosuch/start"),
    ("POST", "/commit?container=box"),
    ("POST", "/auth"),
]
BROKEN = [
    b"{", b"}", b"nil", b"{'a': 1}", b'{"a" 1}', b"{} {}", b"[1, 2]", b'"text"', b"5", b"\xff\xfe\x00{", b"{\x00}",
    b"[" * 200_000, b'{"HostConfig":' * 100_000, b'{"Image": "\\ud800"}', b'{"Image": "a\\u0000b"}', b'{"Image": 5}',
    b'{"HostConfig": {"Memory": 1e400}}', b'{"HostConfig": {"Memory": 123456789012345678901234567890}}',
    b'{"HostConfig": {"Memory": 1.5}}', b'{"Cmd": {"a": "b"}}', b'{"Labels": ["a"]}', b'{"Name": []}',
    b'{"Image": "' + b"a" * (9 << 20) + b'"}',
]  # fmt: skip


@pytest.fixture
def box(engine: Engine, busybox: str, docker: Callable[..., Any]) -> str:
    """A running container."""
    docker("run", "-d", "--name", "box", busybox, "sleep", "1000")
    return "box"


@pytest.mark.parametrize(("method", "path"), BODIES, ids=[path for _, path in BODIES])
def test_a_broken_body_is_told(engine: Engine, box: str, method: str, path: str) -> None:
    for body in BROKEN:
        received = exchange(engine.socket, request(method, path, body, JSON, "Connection: close"))
        [status] = statuses(received)
        if status in (200, 201):
            continue  # it has no such field
        # 404 and 501: who has no such thing need not look at what is asked of it.
        assert status in (400, 404, 501), (body[:40], received)
        message = json.loads(received.partition(b"\r\n\r\n")[2])["message"]
        assert message and "internal" not in message and len(message) < 1000, body[:40]
    for volume in engine.client.volumes.list():
        volume.remove()


def test_the_last_of_a_doubled_key_counts_as_in_go(engine: Engine, busybox: str, ask: Callable[..., Any]) -> None:
    body = b'{"Image": "nosuch", "Image": "busybox", "Env": ["A=1"], "Env": ["B=2"]}'
    created = ask("POST", "/containers/create", body, {"Content-Type": "application/json"})
    assert created.status == 201
    assert ask("GET", f"/containers/{created.json['Id']}/json").json["Config"]["Env"] == ["B=2"]


def test_an_empty_body_is_no_body(engine: Engine, box: str, ask: Callable[..., Any]) -> None:
    answer = ask("POST", "/containers/create")
    assert (answer.status, answer.message) == (400, "config cannot be empty in order to create a container")
    answer = ask("POST", "/containers/create", b"null", {"Content-Type": "application/json"})
    assert (answer.status, answer.message) == (400, "config cannot be empty in order to create a container")
    assert ask("POST", "/volumes/create").status == 201
    assert ask("POST", "/volumes/create", b"null", {"Content-Type": "application/json"}).status == 201
    for volume in ask("GET", "/volumes").json["Volumes"]:
        assert ask("DELETE", f"/volumes/{volume['Name']}").status == 204
    answer = ask("POST", "/containers/box/exec")
    assert answer.status == 400 and "No exec command specified" in answer.message


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /_ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.0\r\n\r\n", 200),
        (b"GET /_ping HTTP/1.1\r\nHost: docker\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: docker\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: docker\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: docker\r\nNo colon\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: docker\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost : docker\r\n\r\n", 400),
        (b"G@T /_ping HTTP/1.1\r\nHost: docker\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\nHost: docker\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST /volumes/create HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET http://docker/_ping HTTP/1.1\r\nHost: docker\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: docker\r\n\r\n", 200),
        (b"GET /%zz HTTP/1.1\r\nHost: docker\r\n\r\n", 404),
    ],
)  # fmt: skip
def test_what_is_no_http(engine: Engine, ask: Callable[..., Any], sent: bytes, status: int) -> None:
    received = exchange(engine.socket, sent)
    assert statuses(received) == [status], received[:300]
    assert b"aiohttp" not in received
    assert ask("GET", "/_ping").body == b"OK"


@pytest.mark.parametrize("host", ["docker", "api.moby.localhost", "localhost:2375", "evil.example", "[::1]", ""])
@pytest.mark.parametrize("origin", ["", "Origin: http://evil.example"])
def test_host_and_origin_do_not_matter_on_a_unix_socket(engine: Engine, host: str, origin: str) -> None:
    lines = [f"GET /_ping HTTP/1.1\r\nHost: {host}", *([origin] if origin else []), "Connection: close", "", ""]
    received = exchange(engine.socket, "\r\n".join(lines).encode())
    assert statuses(received) == [200]
    assert b"Access-Control" not in received


def test_requests_one_behind_another_are_answered_in_their_order(engine: Engine) -> None:
    sent = b"".join(request("GET", f"/containers/{number}/json") for number in range(100))
    received = exchange(engine.socket, sent + request("GET", "/_ping", b"", "Connection: close"))
    assert re.findall(rb"No such container: (\d+)", received) == [b"%d" % number for number in range(100)]
    assert received.endswith(b"OK")


def test_many_large_headers_are_refused_and_some_are_not(engine: Engine, ask: Callable[..., Any]) -> None:
    assert ask("GET", "/_ping", headers={"X-Registry-Config": "a" * 60_000}).status == 200
    head = "".join(f"X-{number}: {'a' * 1000}\r\n" for number in range(3000))
    received = exchange(engine.socket, f"GET /_ping HTTP/1.1\r\nHost: docker\r\n{head}\r\n".encode())
    assert statuses(received) in ([431], [400], [])


# -- what it costs -------------------------------------------------------------------------------------------------


def descriptors(pid: int) -> int:
    """Descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """Bytes of a process's own resident memory."""
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def back(pid: int, before: int) -> None:
    """Wait until the process has no more descriptors than before, but for the few it holds ready."""
    wait_for(lambda: descriptors(pid) <= before + 8, 20, "the descriptors to be closed")


STREAMS = [
    request("GET", "/containers/box/logs?follow=1&stdout=1&stderr=1"),
    request("GET", "/events"),
    request("GET", "/containers/box/stats"),
    request("POST", "/containers/box/wait"),
    request("POST", "/containers/box/attach?stream=1&stdout=1&stdin=1", b"", "Connection: Upgrade", "Upgrade: tcp"),
    request("POST", "/containers/box/attach?stream=1&stdout=1"),
    request("GET", "/containers/box/archive?path=/bin"),
    request("GET", "/containers/box/export"),
    request("GET", "/images/get?names=busybox"),
    b"POST /build?t=half HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"200\r\n" + b"\0" * 300,
    b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000\r\n\r\n" + b"\0" * 700,
    b"PUT /containers/box/archive?path=/tmp HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000\r\n\r\n" + b"\0" * 700,
    b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    b"GET /containers/js",
]


def test_clients_that_vanish_in_mid_stream_cost_nothing(fresh_engine: Engine) -> None:
    fresh_engine.import_busybox()
    script = "while :; do echo a line of text; sleep 0.02; done"
    fresh_engine.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    pid = fresh_engine.pid

    def vanish(times: int) -> None:
        for _ in range(times):
            for sent in STREAMS:
                with contextlib.suppress(OSError), connect(fresh_engine.socket) as client:
                    client.sendall(sent)
                    client.settimeout(0.05)
                    client.recv(200)

    vanish(2)  # caches, imports, pools
    time.sleep(0.5)
    fds, used = descriptors(pid), memory(pid)
    vanish(12)
    back(pid, fds)
    assert memory(pid) < used + (8 << 20)
    assert fresh_engine.client.info()["NEventsListener"] == 0
    assert fresh_engine.docker("inspect", "-f", "{{.State.Running}}", "box").stdout == "true\n"
    assert "Traceback" not in fresh_engine.log, fresh_engine.log[-3000:]


def test_broken_requests_cost_nothing(fresh_engine: Engine) -> None:
    pid = fresh_engine.pid

    def send(times: int) -> None:
        for _ in range(times):
            for method, path in BODIES[:4]:
                for body in BROKEN:
                    exchange(fresh_engine.socket, request(method, path, body, JSON, "Connection: close"))

    send(1)
    fds, used = descriptors(pid), memory(pid)
    send(2)
    back(pid, fds)
    assert memory(pid) < used + (16 << 20)
    assert "Traceback" not in fresh_engine.log, fresh_engine.log[-3000:]


def test_idle_connections_are_few_bytes_and_are_closed(fresh_engine: Engine) -> None:
    fds, used = descriptors(fresh_engine.pid), memory(fresh_engine.pid)
    clients = []
    for _ in range(300):
        clients.append(client := connect(fresh_engine.socket))
        client.sendall(request("GET", "/_ping"))
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert memory(fresh_engine.pid) - used < 300 * 40_000
    for client in clients:
        client.close()
    back(fresh_engine.pid, fds)
