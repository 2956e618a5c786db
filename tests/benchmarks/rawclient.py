"""The least HTTP client that drives the Docker Engine API: what remains of a measurement is the engine's own time."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Client:
    """One kept connection."""

    def __init__(self, path: str) -> None:
        self._connection = _UnixConnection(path)

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Send a request, return the answer's body. Raises RuntimeError with the engine's words."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data else {}
        self._connection.request(method, f"/v1.41{path}", data, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return content

    def cycle(self, image: str, network: str) -> None:
        """Create, start, wait, remove a container that runs `true`."""
        body = {"Image": image, "Cmd": ["true"], "HostConfig": {"NetworkMode": network}}
        name = json.loads(self.ask("POST", "/containers/create", body))["Id"]
        self.ask("POST", f"/containers/{name}/start")
        code = json.loads(self.ask("POST", f"/containers/{name}/wait"))["StatusCode"]
        self.ask("DELETE", f"/containers/{name}")
        if code:
            raise RuntimeError(f"exit code {code}")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
