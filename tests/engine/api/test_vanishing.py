"""Clients that go away in the middle: nothing half-made stays, nothing goes on for nobody."""

from __future__ import annotations

import io
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine, wait_for


def send(engine: Engine, head: str, body: bytes, linger: float = 0.2) -> None:
    """Send a request's head and a part of its body, wait, and hang up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(head.encode() + b"\r\nHost: docker\r\nContent-Type: application/x-tar\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body + b"\r\n")
        time.sleep(linger)


def files(root: Path) -> set[str]:
    """Everything in the store's folders; not the folders (made when first needed), nor the database's files."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.parent != root}


def a_tar(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("path", ["/images/load", "/images/create?fromSrc=-&repo=half"])
def test_half_an_archive_leaves_nothing(engine: Engine, busybox: str, ask: Callable[..., Any], path: str) -> None:
    images = ask("GET", "/images/json").json
    before = files(engine.settings.data)
    send(engine, f"POST {path} HTTP/1.1", a_tar("file", b"x" * 3_000_000)[:2_000_000])
    wait_for(lambda: files(engine.settings.data) <= before, 30, "what is half-made to go")
    assert ask("GET", "/images/json").json == images


def test_half_a_context_leaves_nothing(engine: Engine, busybox: str, ask: Callable[..., Any]) -> None:
    before = files(engine.settings.data)
    send(engine, "POST /build?t=half HTTP/1.1", a_tar("Dockerfile", b"FROM " + busybox.encode())[:700])
    wait_for(lambda: files(engine.settings.data) <= before, 30, "what is half-made to go")
    assert ask("GET", "/images/half/json").status == 404


def test_a_build_ends_with_its_client(engine: Engine, busybox: str, docker: Callable[..., Any]) -> None:
    builder = engine.docker_popen("build", "-")
    assert builder.stdin is not None and builder.stdout is not None
    builder.stdin.write(f"FROM {busybox}\nRUN echo begun && sleep 987\n")
    builder.stdin.close()
    while "begun" not in (line := builder.stdout.readline()) or "echo" in line:
        assert line
    builder.kill()
    builder.wait(10)

    def sleeps() -> bool:
        commands = (path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit())
        return any(command.exists() and b"987" in _read(command) for command in commands)

    wait_for(lambda: not sleeps(), 10, "the step to be killed")
    assert docker("ps", "-aq").stdout == ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_stop_goes_on_without_its_client(engine: Engine, busybox: str, docker: Callable[..., Any]) -> None:
    docker("run", "-d", "--name", "slow", busybox, "sleep", "100")
    stopper = engine.docker_popen("stop", "-t", "1", "slow")
    time.sleep(0.4)
    stopper.kill()
    stopper.wait(10)
    wait_for(lambda: docker("inspect", "-f", "{{.State.Running}}", "slow").stdout.strip() == "false", 10)


def test_readers_that_leave_are_forgotten(engine: Engine, busybox: str, ask: Callable[..., Any], docker: Any) -> None:
    docker("run", "-d", "--name", "quiet", busybox, "sleep", "100")
    for path in ("/events", "/containers/quiet/logs?follow=1&stdout=1"):
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(engine.socket))
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
                assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    wait_for(lambda: ask("GET", "/info").json["NEventsListener"] == 0, 5)
    descriptors = Path(f"/proc/{engine.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(40):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(engine.socket))
            client.sendall(b"POST /containers/quiet/wait HTTP/1.1\r\nHost: docker\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    # The engine opens a few of its own meanwhile: namespaces and monitors held ready for the next container.
    wait_for(lambda: len(list(descriptors.iterdir())) < before + 20, 5)
