"""A registry that lies, cuts off or sends us elsewhere: a small server of the test's own, and the real clients."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from support import tars
from support.engines import Engine, wait_for
from support.rawhttp import connect, request
from support.registries import INDEX, digest

Docker = Callable[..., Any]
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Server(ThreadingHTTPServer):
    """Serves one image, "x"; what it does wrong is set by the tests. `seen`: (path, Authorization, Range)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self.server_port}"
        self.seen: list[tuple[str, str, str]] = []
        layer = tars.files(hello="from here", rest="x" * 300_000)
        self.layer = gzip.compress(layer, 0)
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}
        self.config = json.dumps(config).encode()
        self.document = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self.described("application/vnd.oci.image.config.v1+json", self.config),
            "layers": [self.described("application/vnd.oci.image.layer.v1.tar+gzip", self.layer)],
        }
        self.cut = self.fail = 0
        self.stall = threading.Event()
        self.stall.set()
        self.redirect = self.realm = self.link = self.kind = ""
        self.gone = False
        self.pushed = b""
        self.search = (404, b"<html>", "text/html")

    @staticmethod
    def described(media_type: str, data: bytes) -> dict:
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        given = self.headers.get("Authorization", "")
        server.seen.append((self.path, given, self.headers.get("Range", "")))
        if self.path.startswith("/token/cut"):
            self.close_connection = True
            return self._answer(200, b'{"token": "t0', "application/json", {"Content-Length": "18"})
        if "offline_token=true" in self.path:
            return self._answer(200, b'{"token": "t0ken", "refresh_token": "for ever"}', "application/json")
        if self.path.startswith("/token"):
            return self._answer(200, b'{"token": "t0ken"}', "application/json")
        if server.realm and given != "Bearer t0ken":
            challenge = {"WWW-Authenticate": f'Bearer realm="{server.realm}",service="test"'}
            return self._answer(401, b"{}", "application/json", challenge)
        if "/manifests/" in self.path:
            return self._answer(200, json.dumps(server.document).encode(), server.kind or server.document["mediaType"])
        if self.path.endswith(digest(server.config)):
            return self._answer(200, server.config)
        if self.path.startswith("/v1/search"):
            return self._answer(*server.search)
        if "/tags/list" in self.path:
            headers = {"Link": server.link} if server.link else {}
            return self._answer(200, b'{"tags": ["../../etc", ""]}', "application/json", headers)
        if self.path.endswith(server.document["layers"][0]["digest"]):
            return self._layer()
        return self._answer(200, b"{}", "application/json")

    def do_HEAD(self) -> None:
        self._answer(404, b"")

    def do_PUT(self) -> None:
        """Takes no blob at once, and none without having broken off before."""
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, "PUT", str(len(said))))
        self._answer(413 if said and "/manifests/" not in self.path else 201, b"")

    def do_PATCH(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, "PATCH", self.headers["Content-Range"]))
        if self.server.fail:
            self.server.fail -= 1
            return self._answer(503, b"")
        self.server.pushed += said
        return self._answer(202, b"", headers={"Location": f"{self.path}x"})

    def do_POST(self) -> None:
        """The place of an upload; or a token for an identity token."""
        if "/uploads/" in self.path:
            self.server.pushed = b""
            return self._answer(202, b"", headers={"Location": "/v2/x/blobs/uploads/1"})
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.path, said, ""))
        right = "refresh_token=for+ever" in said and "grant_type=refresh_token" in said
        return self._answer(200 if right else 401, b'{"access_token": "t0ken"}', "application/json")

    def _layer(self) -> None:
        server = self.server
        if server.redirect:
            return self._answer(307, b"", headers={"Location": f"http://{server.redirect}{self.path}"})
        if server.fail:
            server.fail -= 1
            return self._answer(503, b"", headers={"Retry-After": "0"})
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        data = server.layer[start:]
        if server.cut:
            server.cut -= 1
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return None
        if server.gone:
            return self._answer(404, b"<p>a page for people</p>" * 9000, "text/html")
        if not server.stall.is_set():
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:200_000])
            server.stall.wait(20)
            self.close_connection = True
            return None
        return self._answer(206 if start else 200, data)

    def _answer(
        self, status: int, data: bytes, kind: str = "application/octet-stream", headers: Mapping[str, str] = {}
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Not on the test's output."""


@contextlib.contextmanager
def _serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """The registry of one test."""
    with _serving() as made:
        yield made


@pytest.fixture
def other() -> Iterator[Server]:
    """Another server, to be sent to."""
    with _serving() as made:
        yield made


@pytest.fixture
def gone(docker: Docker, server: Server) -> Iterator[str]:
    """The image's name; it is gone after the test."""
    yield f"{server.address}/x"
    docker("rmi", "-f", f"{server.address}/x", check=False)


def test_a_download_goes_on_where_it_broke_off(docker: Docker, server: Server, gone: str) -> None:
    server.cut = 2
    server.fail = 1
    docker("pull", gone)
    ranges = [wanted for path, _, wanted in server.seen if path.endswith(digest(server.layer))]
    assert ranges[0] == ranges[1] == ""
    assert [int(wanted[6:-1]) for wanted in ranges[2:]] == sorted({int(wanted[6:-1]) for wanted in ranges[2:]})
    assert len(ranges) == 4


def test_a_password_goes_to_the_token_server_and_nowhere_else(
    docker: Docker, engine: Engine, server: Server, other: Server, gone: str
) -> None:
    server.realm = f"http://{server.address}/token"
    server.redirect = other.address
    known = base64.b64encode(b"me:my secret").decode()
    config = engine.settings.data.parent / "docker-config/config.json"
    docker("version")
    config.write_text(json.dumps({"auths": {server.address: {"auth": known}}}))
    try:
        docker("pull", gone)
    finally:
        config.unlink()
    assert {path.partition("?")[0] for path, given, _ in server.seen if given == f"Basic {known}"} == {"/token"}
    assert "scope=repository%3Ax%3Apull" in next(path for path, *_ in server.seen if path.startswith("/token"))
    assert [given for _, given, _ in other.seen] == [""]
    assert "my secret" not in engine.log and known not in engine.log


def test_a_login_gets_a_token_that_stands_for_the_password(
    docker: Docker, engine: Engine, server: Server, gone: str
) -> None:
    server.realm = f"http://{server.address}/token"
    config = engine.settings.data.parent / "docker-config/config.json"
    said = docker("login", "-u", "me", "--password-stdin", server.address, stdin="my secret")
    assert "Login Succeeded" in said.stdout
    assert json.loads(config.read_text())["auths"][server.address]["identitytoken"] == "for ever"
    server.seen.clear()
    docker("pull", gone)
    docker("logout", server.address)
    assert any(path == "/token" and "scope=repository%3Ax%3Apull" in given for path, given, _ in server.seen)
    assert not any("Basic" in given for _, given, _ in server.seen)
    assert "my secret" not in engine.log and "for ever" not in engine.log


def test_a_mirror_that_breaks_off_or_lies_is_followed_by_the_registry(
    fresh_engine: Engine, server: Server, other: Server
) -> None:
    text = f'[registries.mirrors]\n"{server.address}" = ["http://{other.address}"]\n'
    (fresh_engine.settings.data / "dosirak.toml").write_text(text)
    other.cut, other.gone = 1, True
    fresh_engine.docker("pull", f"{server.address}/x")
    path = f"/v2/x/blobs/{digest(server.layer)}"
    halves = [wanted for asked, _, wanted in (*other.seen, *server.seen) if asked == path]
    assert halves == ["", f"bytes={len(server.layer) // 2}-"]
    assert not any("/manifests/" in asked for asked, *_ in server.seen)
    fresh_engine.docker("rmi", f"{server.address}/x")
    other.cut = 0
    fresh_engine.docker("pull", f"{server.address}/x")
    fresh_engine.docker("rmi", f"{server.address}/x")
    other.gone, other.layer = False, server.layer[:-9] + b"corrupted"
    fresh_engine.docker("pull", f"{server.address}/x")
    assert fresh_engine.docker("images", "-q").stdout


def test_a_registry_that_takes_no_blob_at_once_gets_it_in_pieces(docker: Docker, server: Server, gone: str) -> None:
    docker("pull", gone)
    server.seen.clear()
    server.fail = 1
    docker("push", gone)
    steps = [(how, size) for _, how, size in server.seen if how in ("PUT", "PATCH")]
    whole = f"0-{len(server.layer) - 1}"
    assert steps[:4] == [("PUT", str(len(server.layer))), ("PATCH", whole), ("PATCH", whole), ("PUT", "0")]
    assert steps[-1][0] == "PUT" and server.seen[-1][0].endswith("/manifests/latest")
    assert server.pushed == server.config


def test_a_manifest_s_type_is_its_own_whatever_a_server_calls_it(
    docker: Docker, engine: Engine, server: Server, gone: str
) -> None:
    server.kind = "text/html; charset=utf-8"
    docker("pull", gone)
    index = json.loads((engine.settings.data / "content/index.json").read_text())
    manifest = digest(json.dumps(server.document).encode())
    assert {one["mediaType"] for one in index["manifests"] if one["digest"] == manifest} == {_MANIFEST}


def test_search_asks_the_registry_s_own_search(docker: Docker, server: Server) -> None:
    hits = [
        {"name": "tools", "description": "all\n of them " * 9, "star_count": 12, "is_official": True},
        {"name": "more/tools", "star_count": 3, "is_automated": True},
    ]
    server.search = (200, json.dumps({"results": hits}).encode(), "application/json")
    said = docker("search", f"{server.address}/tools").stdout.splitlines()
    assert said[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert [line.split()[0] for line in said[1:]] == ["tools", "more/tools"]
    assert "q=tools&n=25" in next(path for path, *_ in server.seen if path.startswith("/v1/search"))
    said = docker("search", "-f", "stars=10", "-f", "is-official=true", f"{server.address}/tools").stdout
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["tools"]
    for arguments, words in (
        (("-f", "stars=many"), "invalid filter 'stars=many'"),
        (("-f", "colour=red"), "invalid filter 'colour'"),
        (("--limit", "101"), "limit 101 is outside the range of [1, 100]"),
    ):
        assert words in docker("search", *arguments, f"{server.address}/tools", check=False).stderr
    server.search = (200, b"[" * 9000, "application/json")
    assert docker("search", f"{server.address}/tools", check=False).returncode in (0, 1)


def test_endless_tag_lists_end(docker: Docker, server: Server) -> None:
    server.link = f'</v2/x/tags/list?n=1>; rel="next", <http://{server.address}/v2/x/tags/list>; rel="next"'
    done = docker("pull", "-a", f"{server.address}/x")
    assert done.returncode == 0
    assert 1 < len([path for path, *_ in server.seen if "tags/list" in path]) < 5
    server.link = '<http://elsewhere.example/v2/x/tags/list>; rel="next"'
    assert "refusing to go on to another server" in docker("pull", "-a", f"{server.address}/x", check=False).stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.document.update(manifests=[]), "it is both an image and an index"),
        (lambda s: s.document["layers"][0].update(size=100), "is longer than its 100 bytes"),
        (lambda s: s.document["layers"][0].update(digest="sha256:../../../../etc/passwd"), "invalid manifest"),
        (lambda s: s.document["layers"][0].update(mediaType="application/x.foreign.tar"), "is a foreign layer"),
        (lambda s: s.document["config"].update(mediaType="application/vnd.helm+json"), "not a container image"),
        (lambda s: s.document.update(mediaType="application/vnd.docker.distribution.manifest.v1+json"), "schema 1"),
        (lambda s: s.document["config"].update(size=9 << 20), "larger than"),
        (lambda s: s.document.update(padding="x" * (5 << 20)), "an answer of more than 4194304 bytes"),
        (lambda s: setattr(s, "kind", INDEX), f"it is called {INDEX}"),
        (lambda s: s.document.update(mediaType=INDEX), f"it is called {INDEX}"),
        (lambda s: s.document["layers"].append(s.document["layers"][0]), "layers length mismatch"),
        (lambda s: setattr(s, "realm", "ftp://elsewhere/token"), "refusing to go on"),
        (lambda s: setattr(s, "realm", f"http://{s.address}/token/cut"), "the answer broke off"),
    ],
)
def test_what_is_wrong_is_one_clear_error_and_leaves_nothing(
    docker: Docker, engine: Engine, server: Server, change: Callable[[Server], Any], words: str
) -> None:
    change(server)
    blobs = engine.settings.data / "content/blobs/sha256"
    before = {path.name for path in blobs.iterdir()}
    done = docker("pull", f"{server.address}/x", check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert {path.name for path in blobs.iterdir()} == before
    assert not list((engine.settings.data / "content/tmp").iterdir())


def test_a_client_that_goes_away_ends_its_pull_and_leaves_nothing(engine: Engine, server: Server) -> None:
    server.stall.clear()
    temporary = engine.settings.data / "content/tmp"
    path = f"/images/create?fromImage={server.address}/x&tag=latest"
    with connect(engine.socket) as client, client.makefile("rb") as answer:
        client.sendall(request("POST", path))
        assert any(b"Pulling from x" in line for line in answer)
        wait_for(lambda: list(temporary.iterdir()), 10, "the download to begin")
    wait_for(lambda: not list(temporary.iterdir()), 10, "the download to be thrown away")
    wait_for(lambda: not list((engine.settings.data / "layers/tmp").iterdir()), 10, "the layer to be thrown away")
    server.stall.set()
