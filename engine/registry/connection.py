"""One registry server: how it is reached, and who we are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.registry import errors, tokens
from dosirak.engine.registry.challenge import parse
from dosirak.engine.registry.credentials import Credentials
from dosirak.engine.registry.retries import TRIES, retried, retry_after
from dosirak.engine.registry.transport import Transport, beginning

if TYPE_CHECKING:
    import aiohttp

    from dosirak.engine.registry.hosts import Endpoint

_MAX_ERROR = 64 << 10


class Connection:
    """Requests to `endpoint`, with the authorisation it asks for; reached at the first.

    Parameters: `scopes`: what tokens are asked for ("repository:library/busybox:pull"); `tries`: how often in a row.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        credentials: Credentials,
        scopes: Iterable[str] = (),
        tries: int = TRIES,
    ) -> None:
        self.host = endpoint.host
        self.tries = tries
        self.scopes = [*scopes]
        self._transport = transport
        self._endpoint = endpoint
        # A mirror is somebody else: it never gets what was meant for the registry.
        self._credentials = Credentials() if endpoint.anonymous else credentials
        self._base = ""
        self._authorization = ""
        self._connecting = asyncio.Lock()

    async def login(self) -> str:
        """Finds out whether the registry takes the credentials.

        Returns the token that stands for them from now on, "" if the registry has none.
        Raises Unauthorized, RegistryError, Unreachable.
        """
        url, challenges = await self._reach()
        self._base = url
        identity = await self._authorize(challenges, url, offline=True) if challenges is not None else ""
        sent = {"Authorization": self._authorization} if self._authorization else {}
        async with self._transport.request("GET", url, insecure=self._endpoint.insecure, headers=sent) as answer:
            if answer.status == 200:
                return identity
            raise errors.Unauthorized(
                f"login attempt to {url} failed with status: {answer.status} {answer.reason or ''}".rstrip()
            )

    async def connect(self) -> None:
        """Finds out how the server is reached, and authorises when it wants that at once.

        Raises Unreachable, RegistryError, Unauthorized.
        """
        async with self._connecting:
            if self._base:
                return
            url, challenges = await retried(self._reach, self.tries)
            if challenges is not None:
                await self._authorize(challenges, url)
            self._base = url

    async def _reach(self) -> tuple[str, list[str] | None]:
        """The server's URL, and its challenges when it wants authorisation at once."""
        *others, last = self._endpoint.schemes
        for scheme in others:
            try:
                return await self._ping(f"{scheme}://{self.host}/v2/")
            except errors.Unreachable:
                continue
        return await self._ping(f"{last}://{self.host}/v2/")

    async def _ping(self, url: str) -> tuple[str, list[str] | None]:
        async with self._transport.request("GET", url, insecure=self._endpoint.insecure) as answer:
            if answer.status == 401:
                return url, answer.headers.getall("WWW-Authenticate", [])
            if answer.status >= 400 and answer.status not in (403, 404):
                raise await self._refusal(answer)
            return url, None

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        again: bool | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no error; `path` is below `/v2/` ("x/manifests/latest") or where the server sent us.

        Parameters: `again`: `data` can be sent a second time, should the server want authorisation first (so can none).
        Raises Unreachable, RegistryError, Unauthorized.
        """
        await self.connect()
        url = self._url(path)
        repeatable = data is None if again is None else again
        for attempt in (1, 2):
            sent = dict(headers or {})
            if self._authorization:
                sent["Authorization"] = self._authorization
            async with self._transport.request(
                method, url, insecure=self._endpoint.insecure, headers=sent, data=data
            ) as answer:
                if answer.status == 401 and attempt == 1 and repeatable:
                    # A token may have run out, or covers less than this.
                    await self._authorize(answer.headers.getall("WWW-Authenticate", []), url, method)
                    continue
                if answer.status >= 400:
                    raise await self._refusal(answer)
                if answer.status >= 300:
                    raise errors.Unreachable(f"{self.host}: a redirect where none is followed")
                yield answer
                return

    async def get(self, path: str, limit: int, accept: str = "*/*") -> tuple[Mapping[str, str], bytes]:
        """A document of at most `limit` bytes, and its answer's headers; tried again when that may help.

        Raises RegistryError, Unreachable, Unauthorized, InvalidRequest when it is larger.
        """

        async def get() -> tuple[Mapping[str, str], bytes]:
            async with self.ask("GET", path, headers={"Accept": accept}) as answer:
                data = await beginning(answer, limit)
                if len(data) > limit:
                    raise InvalidRequest(f"{self.host}: an answer of more than {limit} bytes")
                return answer.headers, data

        return await retried(get, self.tries)

    def _url(self, path: str) -> str:
        """A path in full. Uploads go where the registry says, but not to another server; the scheme stays ours."""
        if "://" not in path and not path.startswith("/"):
            return f"{self._base}{path}"
        url = urljoin(self._base, path)
        _, _, rest = url.partition("://")
        if rest.partition("/")[0] != self.host:
            raise errors.Unreachable(f"{self.host}: refusing to go on to another server")
        return f"{self._base.partition('://')[0]}://{rest}"

    async def _authorize(
        self, challenges: Iterable[str], url: str, method: str = "GET", *, offline: bool = False
    ) -> str:
        """Gets what the server wants to see; returns an identity token if one was asked for and given."""
        for challenge in parse(challenges):
            if challenge.scheme == "bearer":
                if self._credentials.registry_token:
                    self._authorization = f"Bearer {self._credentials.registry_token}"
                    return ""
                token, identity = await tokens.fetch(
                    self._transport, url, challenge, self.scopes, self._credentials, self._endpoint, offline=offline
                )
                self._authorization = f"Bearer {token}"
                return identity
            if challenge.scheme == "basic" and self._credentials.basic:
                self._authorization = self._credentials.basic
                return ""
            if challenge.scheme == "basic":
                # No 401 of ours, as Docker has none: its client would ask for a password in the middle of a script.
                raise errors.RegistryError(401, "", f'{method.capitalize()} "{url}": no basic auth credentials')
        raise errors.RegistryError(401, "UNAUTHORIZED", "unauthorized: authentication required")

    async def _refusal(self, answer: aiohttp.ClientResponse) -> errors.RegistryError:
        body = b""
        if answer.status < 600 and answer.method != "HEAD":
            body = await beginning(answer, _MAX_ERROR)
        challenges = answer.headers.getall("WWW-Authenticate", [])
        return errors.from_answer(answer.status, body, challenges, retry_after(answer.headers.get("Retry-After", "")))
