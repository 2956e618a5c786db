"""The way to a registry: certificates, proxies, servers that drip."""

from __future__ import annotations

import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dosirak.engine.errors import EngineError, InvalidRequest
from dosirak.engine.registry.certificates import Certificates
from dosirak.engine.registry.connection import Connection
from dosirak.engine.registry.credentials import Credentials
from dosirak.engine.registry.hosts import Endpoint
from dosirak.engine.registry.transport import Transport, pieces
from support.engines import Engine, new_settings


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Host", "")))  # type: ignore[attr-defined]
        if self.path.endswith("/drip"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(30):
                time.sleep(0.1)
                try:
                    self.wfile.write(b".")
                except OSError:
                    return
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Not on the test's output."""


Serve = Callable[..., ThreadingHTTPServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves on an address, with a TLS context if one is given; `seen` is what was asked."""
    started = []

    def start(address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer((address, 0), _Handler)
        server.seen = []  # type: ignore[attr-defined]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


async def _ask(host: str, certificates: Path, *, schemes: tuple[str, ...] = ("https",), path: str = "x") -> bytes:
    transport = Transport(Certificates([certificates]))
    try:
        connection = Connection(transport, Endpoint(host, schemes), Credentials())
        return (await connection.get(path, 100))[1]
    finally:
        await transport.close()


async def test_certs_d_says_whom_to_trust_and_who_we_are(serve: Serve, address: str, authority: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority / "ca.pem")
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    host = f"{address}:{serve(address, context).server_port}"
    folder = authority / "certs.d" / host
    with pytest.raises(EngineError, match="x509: certificate signed by unknown authority"):
        await _ask(host, authority / "certs.d")
    folder.mkdir(parents=True)
    shutil.copy(authority / "ca.pem", folder / "ca.crt")
    with pytest.raises(EngineError, match="tls: certificate required"):
        await _ask(host, authority / "certs.d")
    shutil.copy(authority / "client.pem", folder / "client.cert")
    with pytest.raises(InvalidRequest, match=r"missing key client\.key for client certificate client\.cert"):
        await _ask(host, authority / "certs.d")
    shutil.copy(authority / "client.key", folder / "client.key")
    assert await _ask(host, authority / "certs.d") == b"{}"
    (folder / "ca.crt").write_text("no certificate")
    with pytest.raises(InvalidRequest, match=r"ca\.crt: no certificate or key"):
        await _ask(host, authority / "certs.d")


async def test_plain_http_where_tls_is_wanted_is_said(serve: Serve, address: str, tmp_path: Path) -> None:
    host = f"{address}:{serve(address).server_port}"
    with pytest.raises(EngineError, match="server gave HTTP response to HTTPS client"):
        await _ask(host, tmp_path)


def test_ssl_cert_file_is_trusted_by_the_service(
    serve: Serve, address: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    host = f"{address}:{serve(address, context).server_port}"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    engine = Engine(new_settings("tls")).start()
    try:
        # What answers is no manifest; that it was understood is enough.
        assert "invalid manifest" in engine.docker("pull", f"{host}/x", check=False).stderr
    finally:
        engine.stop()


async def test_a_proxy_is_asked_for_what_is_not_near(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, near = serve(), serve()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "near.example")
    assert await _ask("far.example", tmp_path, schemes=("http",)) == b"{}"
    assert proxy.seen[-1] == ("http://far.example/v2/x", "far.example")  # type: ignore[attr-defined]
    count = len(proxy.seen)  # type: ignore[attr-defined]
    assert await _ask(f"127.0.0.1:{near.server_port}", tmp_path, schemes=("http",)) == b"{}"
    with pytest.raises(EngineError):
        await _ask("near.example:1", tmp_path, schemes=("http",))
    assert len(proxy.seen) == count  # type: ignore[attr-defined]


async def test_an_answer_that_drips_is_given_up(serve: Serve) -> None:
    transport = Transport()
    url = f"http://127.0.0.1:{serve().server_port}/drip"
    begun = time.monotonic()
    try:
        async with transport.request("GET", url) as answer:
            with pytest.raises(EngineError, match="comes too slowly"):
                async for _ in pieces(answer, seconds=0.3):
                    pass
    finally:
        await transport.close()
    assert time.monotonic() - begun < 2.5
