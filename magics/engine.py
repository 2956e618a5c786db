"""The client's side of the engine: docker-py on our socket, started on demand, or on what DOCKER_HOST names.

docker-py and requests take 250 ms to import, so they are imported by the first command, never by the extension.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from dosirak.magics.errors import DAEMON, DosirakError, NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import docker
    import requests

    from dosirak.magics.streams.hijack import Hijacked

_connections: dict[str, Engine] = {}


def connect() -> Engine:
    """Return the engine that DOCKER_HOST names, or Dosirak's own, started when it does not run.

    Raises DosirakError when there is none and none can be started.
    """
    host = os.environ.get("DOCKER_HOST") or own_host()
    if host not in _connections:
        _connections[host] = Engine(host)
    return _connections[host]


def own_host() -> str:
    """Return the address of Dosirak's own engine, starting it when needed."""
    from dosirak.engine import settings, start
    from dosirak.engine.errors import EngineError

    try:
        return f"unix://{start.ensure(settings.load())}"
    except EngineError as error:
        hint = "`dosirak doctor` says what this host lacks"
        raise DosirakError(f"Cannot start the Dosirak engine: {error.message} ({hint})", 125) from error


class Engine:
    """One engine's API. Every failure is a DosirakError in Docker's words.

    Parameters: `host` is a DOCKER_HOST address (unix://, tcp://, ssh://).
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._client: docker.DockerClient | None = None

    @property
    def client(self) -> docker.DockerClient:
        """The docker-py client; made, and the API's version agreed, at first use."""
        if self._client is None:
            with self._translated():
                self._client = _make_client(self.host)
        return self._client

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request and return its answer; `stream` leaves the answer's body to be read by the caller.

        Parameters: `query` values None and False are left out, True is 1, lists and maps are sent as JSON, a tuple's
        members each by themselves. `body` is
        sent as JSON, `data` as it is (bytes, or an iterator of bytes).
        """
        if "//" in path:
            raise DosirakError("invalid name or ID: value is empty")
        api = self.client.api
        with self._translated():
            sent = dict(headers or {})
            if body is not None:
                data, sent["Content-Type"] = json.dumps(body), "application/json"
            response = api.request(
                method,
                api._url("{0}", path),
                params=_query(query),
                data=data,
                headers=sent,
                stream=stream,
                timeout=None,
            )
            api._raise_for_status(response)
            found: requests.Response = response
            return found

    def revive(self) -> None:
        """Start the engine again when it is ours and has gone; containers outlive it, and a new one knows them.

        Raises DosirakError when it can't be started.
        """
        if not os.environ.get("DOCKER_HOST"):
            own_host()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON that GET `path` answers."""
        return self.call("GET", path, query).json()

    def post(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """POST, and return the answer's JSON, or None when it has no body."""
        response = self.call("POST", path, query, body)
        return response.json() if response.content else None

    def delete(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """DELETE, and return the answer's JSON, or None when it has no body."""
        response = self.call("DELETE", path, query)
        return response.json() if response.content else None

    def lines(self, response: requests.Response) -> Iterator[Any]:
        """Yield the JSON objects of a streamed answer as they come."""
        decoder, rest = json.JSONDecoder(), ""
        with self._translated(), contextlib.closing(response):
            for piece in response.iter_content(None, decode_unicode=False):
                rest += piece.decode(errors="replace")
                while rest := rest.lstrip():
                    try:
                        value, end = decoder.raw_decode(rest)
                    except ValueError:
                        break
                    yield value
                    rest = rest[end:]

    def hijack(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Hijacked:
        """POST and take over the connection: a raw two-way stream from here on (attach, exec)."""
        from dosirak.magics.streams.hijack import Hijacked

        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        return Hijacked(self.call("POST", path, query, {} if body is None else body, headers=headers, stream=True))

    @property
    def is_near(self) -> bool:
        """Whether this is Dosirak's engine, on a socket of this machine: it may see the files that we see."""
        return self.host.startswith("unix://") and self.is_dosirak

    @property
    def is_dosirak(self) -> bool:
        """Whether this is Dosirak's own engine, which has the `/dosirak/…` requests."""
        return "dosirak" in engine_name(self.get("/version")).lower()

    @contextlib.contextmanager
    def ours_alone(self, what: str) -> Iterator[None]:
        """In here requests are made that only Dosirak's own engine knows: another one's 404 becomes NotSupported."""
        try:
            yield
        except ApiFailure as error:
            if error.status == 404 and not self.is_dosirak:
                raise NotSupported(f"{what}: needs Dosirak's own engine; DOCKER_HOST names another one", 1) from error
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import docker
        import requests

        try:
            yield
        except docker.errors.APIError as error:
            raise ApiFailure(_explanation(error), error.status_code or 500) from error
        except docker.errors.TLSParameterError as error:
            raise DosirakError(f"Unable to resolve docker endpoint: {error}") from error
        except requests.exceptions.ConnectionError as error:
            raise DosirakError(self._unreachable(error), 125) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            if "Error while fetching server API version" in str(error):
                raise DosirakError(self._unreachable(error), 125) from error
            raise DosirakError(f"error during connect: {error}", 125) from error

    def _unreachable(self, error: Exception) -> str:
        if "PermissionError" in str(error):
            return f"permission denied while trying to connect to the Docker daemon socket at {self.host}"
        if _lost_in_the_middle(error):
            return f"error during connect: the engine at {self.host} closed the connection; does it still run?"
        return f"Cannot connect to the Docker daemon at {self.host}. Is the docker daemon running?"


def engine_name(version: Mapping[str, Any]) -> str:
    """Return what kind of engine GET /version tells of: "Dosirak Engine", "Docker Engine - Community", …."""
    return str((version.get("Platform") or {}).get("Name") or "Engine")


class ApiFailure(DosirakError):
    """The engine's own refusal; `status` is the HTTP status, `explanation` its words."""

    def __init__(self, explanation: str, status: int, exit_code: int = 1) -> None:
        super().__init__(f"{DAEMON}{explanation}", exit_code)
        self.explanation = explanation
        self.status = status


def _make_client(host: str) -> docker.DockerClient:
    import docker

    options: dict[str, Any] = {"base_url": host}
    if not host.startswith("unix://"):
        options = docker.utils.kwargs_from_env(environment={**os.environ, "DOCKER_HOST": host})
    client = docker.DockerClient(version="auto", timeout=None, **options)
    # A socket of this machine needs no proxies and no .netrc, which requests would look for each time.
    client.api.trust_env = not host.startswith("unix://")
    return client


def _query(query: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    found = []
    for key, value in (query or {}).items():
        if isinstance(value, tuple):
            found += [(key, str(member)) for member in value]
        elif value is True:
            found.append((key, "1"))
        elif value is not None and value is not False:
            found.append((key, json.dumps(value) if isinstance(value, dict | list) else str(value)))
    return found


def _explanation(error: docker.errors.APIError) -> str:
    explanation = error.explanation
    text = explanation.decode(errors="replace") if isinstance(explanation, bytes) else str(explanation or error)
    return text.strip()


def _lost_in_the_middle(error: Exception) -> bool:
    text = str(error)
    if any(word in text for word in ("FileNotFoundError", "ConnectionRefusedError")):
        return False
    return any(word in text for word in ("RemoteDisconnected", "ConnectionResetError", "Connection aborted", "EOF"))
