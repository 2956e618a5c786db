"""A Docker API that only listens: records what a real client sends, answers enough for it to go on."""

from __future__ import annotations

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREATED = "c0ffee" * 10 + "c0de"


@dataclass
class Recorded:
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = url.path
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        self.server.requests.append(  # type: ignore[attr-defined]
            Recorded(self.command, path, parse_qs(url.query, keep_blank_values=True), self._body(), dict(self.headers))
        )
        status, answer = 200, b"{}"
        if path == "/_ping":
            answer = b"OK"
        elif path == "/version":
            answer = b'{"ApiVersion": "1.51", "Version": "28.2.2", "Platform": {"Name": "Docker Engine"}}'
        elif path.startswith("/dosirak/"):
            status, answer = 404, b'{"message": "page not found"}'
        elif path.endswith("/create"):
            status, answer = 201, json.dumps({"Id": CREATED, "Warnings": []}).encode()
        elif path.endswith("/start") or path.endswith("/stop"):
            status, answer = 204, b""
        elif path.endswith("/json") and "/containers/" in path and not path.endswith("containers/json"):
            answer = json.dumps({"Id": CREATED, "Config": {"Tty": False}, "State": {}, "HostConfig": {}}).encode()
        elif path.endswith("/json"):
            answer = b"[]"
        elif path == "/build":
            answer = b'{"stream":"Successfully built abc\\n"}\n'
        self.send_response(status)
        for name, value in (
            ("Api-Version", "1.51"),
            ("Ostype", "linux"),
            ("Builder-Version", "1"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = _answer

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: object) -> None:
        pass


class Recorder:
    """`with Recorder(path) as r:` listens on the unix socket `path`; `r.requests` is what came."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.host = f"unix://{path}"
        self._server = socketserver.ThreadingUnixStreamServer(str(path), _Handler)
        self._server.daemon_threads = True
        self.requests: list[Recorded] = []
        self._server.requests = self.requests  # type: ignore[attr-defined]

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def last(self, suffix: str) -> Recorded:
        """The latest request whose path ends so."""
        return next(r for r in reversed(self.requests) if r.path.endswith(suffix))
