"""A plain HTTP client on the engine's socket: what the docker CLI and docker-py would not send."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from support.engines import Engine


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Docker's error text."""
        return self.json["message"]


@pytest.fixture
def ask(engine: Engine) -> Callable[..., Answer]:
    """`ask("GET", "/v1.43/info")`; `body` is bytes, or anything that becomes JSON."""

    def ask(method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Answer:
        connection = http.client.HTTPConnection("docker", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(engine.socket))
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        connection.close()
        return answer

    return ask
