"""cp, export, diff and commit over HTTP: heads, framing of bodies, and clients that do it wrong or go away."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.engines import Engine, wait_for
from support.tars import files, member, tar

Docker = Callable[..., Any]


@pytest.fixture
def box(docker: Docker, busybox: str) -> str:
    """A running container."""
    docker("run", "-d", "--name", "box", busybox, "sleep", "1000")
    return "box"


class Wire:
    """A connection of our own."""

    def __init__(self, engine: Engine) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(engine.socket))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def all(self) -> bytes:
        """Everything until the engine hangs up."""
        data = b""
        while piece := self.sock.recv(1 << 16):
            data += piece
        return data

    def answer(self) -> tuple[int, bytes]:
        """Status and body of an answer after which the engine hangs up."""
        head, _, body = self.all().partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@pytest.fixture
def wire(engine: Engine) -> Iterator[Callable[[], Wire]]:
    """Makes connections."""
    made: list[Wire] = []

    def make() -> Wire:
        made.append(Wire(engine))
        return made[-1]

    yield make
    for connection in made:
        connection.sock.close()


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def put(path: str, *headers: str, query: str = "path=/") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"PUT /v1.43/containers/{path}/archive?{query} HTTP/1.1\r\nHost: d\r\n{lines}\r\n".encode()


def test_head_tells_what_docker_tells(ask: Callable[..., Any], docker: Docker, box: str) -> None:
    script = "mkdir -m 1777 /d; mknod /n c 1 3; touch -d 2001-02-03 /f; chmod 4751 /f; ln -s f /l; mkfifo /p"
    docker("exec", box, "sh", "-c", script)
    modes = {"d": 1 << 31 | 1 << 20 | 0o777, "n": 1 << 26 | 1 << 21 | 0o644, "f": 1 << 23 | 0o751, "p": 1 << 25 | 0o644}
    for name, mode in modes.items():
        answer = ask("HEAD", f"/v1.43/containers/{box}/archive?path=/{name}")
        found = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
        assert (found["name"], found["mode"], found["linkTarget"]) == (name, mode, "")
    assert json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])).keys() == {
        *("name", "size", "mode", "mtime", "linkTarget")
    }
    link = ask("HEAD", f"/v1.43/containers/{box}/archive?path=/l").headers["X-Docker-Container-Path-Stat"]
    assert json.loads(base64.b64decode(link))["linkTarget"] == "/f"


def test_errors_have_docker_s_status_and_words(ask: Callable[..., Any], box: str) -> None:
    for method in ("GET", "HEAD", "PUT"):
        assert ask(method, f"/v1.43/containers/{box}/archive").status == 400
        assert ask(method, f"/v1.43/containers/{box}/archive?path=/no").status == 404
        assert ask(method, "/v1.43/containers/nobody/archive?path=/").status == 404
    assert ask("GET", f"/v1.43/containers/{box}/archive").message == "bad parameter: path cannot be empty"
    missing = ask("GET", f"/v1.43/containers/{box}/archive?path=/no")
    assert missing.message == "Could not find the file /no in container box"
    assert ask("PUT", f"/v1.43/containers/{box}/archive?path=/bin/sh", b"x" * 100_000).status == 400
    assert ask("PUT", f"/v1.43/containers/{box}/archive?path=/%00", b"x").status == 400
    assert ask("GET", "/v1.43/containers/nobody/export").message == "No such container: nobody"
    assert ask("GET", "/v1.43/containers/nobody/changes").message == "No such container: nobody"
    assert ask("POST", "/v1.43/commit?container=nobody").message == "No such container: nobody"
    assert ask("POST", f"/v1.43/commit?container={box}&repo=UP").status == 400
    assert ask("POST", f"/v1.43/commit?container={box}&changes=FROM%20x").message.endswith(
        "is not a valid change command"
    )
    assert ask("GET", f"/v1.43/containers/{box}/changes").json is None


@pytest.mark.parametrize("size", [1, 7, 511, 4096, 32768, 1 << 20])
def test_an_upload_may_come_in_chunks_of_any_size(
    wire: Callable[[], Wire], docker: Docker, box: str, size: int
) -> None:
    content = os.urandom(30_000 if size < 100 else 3_000_000)
    data = chunked(tar([member("f", "file", content), member("g", "file", "after")]), size)
    connection = wire()
    connection.send(put(box, "Transfer-Encoding: chunked"))
    for at in range(0, len(data), 50_000):
        connection.send(data[at : at + 50_000])
    assert connection.answer() == (200, b"")
    found = docker("cp", f"{box}:/f", "-", text=False).stdout
    assert content in found
    assert docker("exec", box, "cat", "/g").stdout == "after"


def test_an_upload_may_come_byte_by_byte_or_after_a_pause(wire: Callable[[], Wire], docker: Docker, box: str) -> None:
    data = files(f="slow")
    connection = wire()
    for byte in put(box, f"Content-Length: {len(data)}"):
        connection.send(bytes([byte]))
    time.sleep(0.1)
    for at in range(0, len(data), 700):
        connection.send(data[at : at + 700])
        time.sleep(0.01)
    assert connection.answer() == (200, b"")
    assert docker("exec", box, "cat", "/f").stdout == "slow"


def test_a_client_that_waits_for_100_is_told_to_go_on(wire: Callable[[], Wire], docker: Docker, box: str) -> None:
    data = files(f="asked first")
    connection = wire()
    connection.send(put(box, f"Content-Length: {len(data)}", "Expect: 100-continue"))
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.send(data)
    assert connection.answer() == (200, b"")
    assert docker("exec", box, "cat", "/f").stdout == "asked first"


def test_a_refused_upload_is_read_to_its_end_so_that_the_client_sees_why(ask: Callable[..., Any], box: str) -> None:
    answer = ask("PUT", f"/v1.43/containers/{box}/archive?path=/no/such", files(f="x" * 5_000_000))
    assert (answer.status, answer.message) == (404, "Could not find the file /no/such in container box")
    answer = ask("PUT", f"/v1.43/containers/{box}/archive?path=/", b"no tar" * 1_000_000)
    assert answer.status == 400
    assert "not a tar archive" in answer.message


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"5\r\nabc", b"-1\r\n\r\n", b"fffffffffffffffff\r\n", b"3\r\nabcdef\r\n", b"x" * 9000]
)
def test_malformed_chunks_are_refused(wire: Callable[[], Wire], docker: Docker, box: str, body: bytes) -> None:
    connection = wire()
    connection.send(put(box, "Transfer-Encoding: chunked") + body)
    connection.sock.shutdown(socket.SHUT_WR)
    assert connection.answer()[0] == 400
    assert docker("exec", box, "true").returncode == 0


def test_clients_that_go_away_leave_nothing_open(
    wire: Callable[[], Wire], engine: Engine, docker: Docker, box: str
) -> None:
    docker("exec", box, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=30 2>/dev/null; mkdir /many; touch /many/x")
    docker("exec", box, "sh", "-c", "cd /many; i=0; while [ $i -lt 500 ]; do echo $i > $i; i=$((i+1)); done")
    assert docker("cp", f"{box}:/big", "-", text=False).stdout
    before = descriptors(engine), threads(engine)
    for number in range(30):
        connection = wire()
        if number % 3 == 0:
            connection.send(f"GET /v1.43/containers/{box}/archive?path=/big HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            connection.sock.recv(1000)
        elif number % 3 == 1:
            connection.send(put(box, "Content-Length: 100000") + files(f="x" * 3000)[:2000])
        else:
            connection.send(f"GET /v1.43/containers/{box}/export HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        connection.sock.close()
    wait_for(lambda: descriptors(engine) <= before[0] + 1, 20, "the descriptors to be closed")
    wait_for(lambda: threads(engine) <= before[1] + 1, 20, "the threads to end")
    assert docker("exec", box, "true").returncode == 0


def test_a_slow_download_stops_neither_the_engine_nor_its_end(wire: Callable[[], Wire], fresh_engine: Engine) -> None:
    fresh_engine.import_busybox()
    fresh_engine.docker("run", "--name", "box", "busybox", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=20")
    stuck = Wire(fresh_engine)
    stuck.send(b"GET /v1.43/containers/box/archive?path=/big HTTP/1.1\r\nHost: d\r\n\r\n")
    assert stuck.sock.recv(100).startswith(b"HTTP/1.1 200 OK")
    uploading = Wire(fresh_engine)
    uploading.send(put("box", "Content-Length: 100000"))
    assert fresh_engine.docker("ps", "-aq").stdout
    begun = time.monotonic()
    fresh_engine.kill(15)
    assert time.monotonic() - begun < 15
    stuck.sock.close()
    uploading.sock.close()


def test_an_old_client_gets_a_body_that_ends_with_the_connection(
    wire: Callable[[], Wire], docker: Docker, box: str
) -> None:
    connection = wire()
    connection.send(f"GET /v1.43/containers/{box}/archive?path=/etc/passwd HTTP/1.0\r\n\r\n".encode())
    head, _, body = connection.all().partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert names(body) == ["passwd"]


def test_docker_py_copies_exports_and_commits(client: Any, box: str) -> None:
    container = client.containers.get(box)
    assert container.put_archive("/", files(f="by docker-py"))
    pieces, found = container.get_archive("/f")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        file = archive.extractfile("f")
        assert file is not None
        assert file.read() == b"by docker-py"
    assert (found["name"], found["size"]) == ("f", 12)
    assert container.diff() == [{"Path": "/f", "Kind": 1}]
    assert {"f", "bin/busybox"} <= set(names(b"".join(container.export())))
    image = container.commit("by-py", "1", message="m", author="a", changes="CMD cat /f")
    assert client.containers.run(image, remove=True) == b"by docker-py"
    client.images.remove("by-py:1")


def test_the_loop_answers_others_while_much_is_copied(
    ask: Callable[..., Any], engine: Engine, docker: Docker, box: str
) -> None:
    data = tar([member("f", "file", bytes(60_000_000))])
    done = threading.Event()

    def copy() -> None:
        try:
            for _ in range(3):
                assert ask("PUT", f"/v1.43/containers/{box}/archive?path=/", data).status == 200
                assert len(ask("GET", f"/v1.43/containers/{box}/archive?path=/f").body) > 60_000_000
        finally:
            done.set()

    thread = threading.Thread(target=copy)
    thread.start()
    slowest = 0.0
    while not done.is_set():
        begun = time.monotonic()
        assert ask("GET", "/_ping").status == 200
        slowest = max(slowest, time.monotonic() - begun)
    thread.join()
    assert slowest < 2.0


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def descriptors(engine: Engine) -> int:
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


def threads(engine: Engine) -> int:
    return len(os.listdir(f"/proc/{engine.pid}/task"))
