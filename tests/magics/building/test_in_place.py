"""A context that is on the engine's own machine is read where it lies, through every door; elsewhere it travels."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.building import inputs
from dosirak.magics.building.context import source
from dosirak.magics.engine import Engine as Client
from dosirak.magics.errors import DosirakError
from support.engines import Engine

Shell = Callable[..., Any]


def cell(*copies: str) -> str:
    return "\n".join(["FROM busybox", *copies, "RUN find /c | sort && cat /c/*.txt", ""])


def folder(place: Path) -> Path:
    """A context with something of every kind that matters here."""
    (place / "sub").mkdir(parents=True)
    for name, text in {"a.txt": "one\n", "sub/b": "", "c.log": "", ".dockerignore": "*.log\n"}.items():
        (place / name).write_text(text)
    return place


def no_stream(*_: Any) -> Iterator[bytes]:
    raise AssertionError("the context travelled")
    yield b""


def test_cell_reads_its_folder_in_place(
    magic: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dosirak.magics.building.context._archive", no_stream)
    context = folder(tmp_path / "c")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(context / "s"))  # a socket is no part of a context
        image = magic("dockerfile", f"-t in-place {context}", cell("COPY . /c"))
    assert image.tags == ["in-place:latest"]
    capsys.readouterr()
    magic("container", "run --rm in-place find /c -type f")
    assert set(capsys.readouterr().out.split()) == {"/c/.dockerignore", "/c/a.txt", "/c/sub/b"}


def test_folder_that_the_engine_does_not_see_travels(
    magic: Shell, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = folder(tmp_path / "c")
    seen = inputs._place

    def elsewhere(*arguments: Any) -> dict[str, Any]:
        document = seen(*arguments)
        document["Context"]["Inode"] += 1
        return document

    monkeypatch.setattr(inputs, "_place", elsewhere)
    word, in_place = inputs.send(Client(engine.docker_host), (), (), source(context, "", "FROM busybox\n"))
    assert word and not in_place
    assert magic("dockerfile", f"-t travelled {context}", cell("COPY . /c")).tags == ["travelled:latest"]


def test_error_names_the_cells_dockerfile_and_its_line(magic: Shell, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"Dockerfile:2"):
        magic("dockerfile", f"{folder(tmp_path / 'c')}", "FROM busybox\nCOPPY a /\n")


def test_build_context_names_a_folder_or_an_image(
    magic: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o/f").write_text("named\n")
    flags = f"-t named --build-context other={tmp_path / 'o'} --build-context base=docker-image://busybox"
    magic("dockerfile", f"{flags} {folder(tmp_path / 'c')}", "FROM base\nCOPY --from=other f /\nCMD cat /f\n")
    capsys.readouterr()
    magic("container", "run --rm named")
    assert capsys.readouterr().out == "named\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "invalid context value: x, expected key=value"),
        ("x=/no/such", "failed to get build context x: stat /no/such: no such file or directory"),
        ("x=https://y/z.git", "it is a folder or docker-image://IMAGE"),
    ],
)
def test_build_context_that_is_none_is_said(text: str, said: str) -> None:
    with pytest.raises(DosirakError, match=said):
        inputs.read_context(text)


def test_context_of_a_url_is_got_by_the_engine(magic: Shell, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nLABEL from=url\n")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/Dockerfile"
            image = magic("docker", f"build -t by-url {url}")
            by_docker_py, _ = engine.client.images.build(path=url)
        finally:
            server.shutdown()
    assert image.id == by_docker_py.id
    assert by_docker_py.labels == {"from": "url"}


def test_verdict_tells_what_was_reused(magic: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = folder(tmp_path / "c")
    for last in ("one", "two"):
        magic("dockerfile", f"-t again {context}", f"FROM busybox\nRUN echo first > /f\nRUN echo {last} > /g\n")
    view = "".join(capsys.readouterr().out)
    assert "from the cache" in view
