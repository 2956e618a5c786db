"""The Docker Engine API spoken raw: thousands of calls a test, no client library between the test and the answer."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

VERSION = "v1.43"


class Answer(NamedTuple):
    """A status, and the answer's JSON (None when it has no body, the bytes when they are none)."""

    status: int
    body: Any

    @property
    def text(self) -> str:
        """The message of an error, "" of anything else."""
        return self.body.get("message", "") if isinstance(self.body, dict) else ""


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """One client on a kept connection; a new one is made when the service went away in between. Not thread-safe."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self.path, self._timeout = path, timeout
        self._connection = _UnixConnection(path, timeout)

    def ask(self, method: str, path: str, body: object = None, **query: object) -> Answer:
        """Send a request, read the answer. Raises OSError or HTTPException when there is none."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        target = f"/{VERSION}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            self._connection.request(method, target, data, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self.close()
            raise
        return Answer(answer.status, _read(content))

    def get(self, path: str, **query: object) -> Answer:
        """GET."""
        return self.ask("GET", path, **query)

    def post(self, path: str, body: object = None, **query: object) -> Answer:
        """POST."""
        return self.ask("POST", path, body, **query)

    def delete(self, path: str, **query: object) -> Answer:
        """DELETE."""
        return self.ask("DELETE", path, **query)

    def need(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """As `ask`, for what must work: the answer's body."""
        answer = self.ask(method, path, body, **query)
        assert answer.status < 300, (method, path, answer)
        return answer.body

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @contextlib.contextmanager
    def hijacked(self, path: str, body: object = None) -> Iterator[socket.socket]:
        """A connection that the engine turns into a stream; its HTTP head is still to be read."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(self._timeout)
            stream.connect(str(self.path))
            data = json.dumps(body).encode() if body is not None else b""
            stream.sendall(
                f"POST /{VERSION}{path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            yield stream


NO_ANSWER = (OSError, HTTPException)
"""What a request raises whose service was killed."""


def _read(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content
