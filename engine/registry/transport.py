"""HTTP as registries need it: one session an engine, redirects that take no credentials along, proxies, time limits."""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from dosirak import __version__
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry.certificates import Certificates
from dosirak.engine.registry.errors import Unreachable
from dosirak.engine.registry.hosts import is_local

if TYPE_CHECKING:
    import aiohttp

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_CONNECT_TIMEOUT = 15.0
_IDLE_TIMEOUT = 60.0
"""Seconds: to connect; between two pieces of an answer. A large blob may take any time as a whole."""
_SLOWEST = 16 << 10
"""Bytes that must come within `_IDLE_TIMEOUT`: one a minute is no download."""
_WHOLE_TIMEOUT = 120.0
"""Seconds that an answer which is read at once may take as a whole: a trickle of bytes must not hold us for ever."""
_READ_SIZE = 1 << 18


class Transport:
    """The connections of an engine to all registries. Made lazily; `close` ends them."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self._certificates = certificates or Certificates()
        self._session: aiohttp.ClientSession | None = None
        self._making = asyncio.Lock()

    async def session(self) -> aiohttp.ClientSession:
        """The session, made at first use."""
        async with self._making:
            if self._session is None:
                # A third of a second, most of it the machine's certificates: not on the event loop.
                client = await in_thread(importlib.import_module, "aiohttp")
                self._session = client.ClientSession(
                    # What is digested must come as it lies there.
                    auto_decompress=False,
                    cookie_jar=client.DummyCookieJar(),
                    timeout=client.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_IDLE_TIMEOUT),
                    headers={"User-Agent": f"Dosirak/{__version__}", "Accept-Encoding": "identity"},
                    read_bufsize=_READ_SIZE,
                )
            return self._session

    async def close(self) -> None:
        """Ends all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        insecure: bool = False,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request and its answer, redirects of GET and HEAD followed.

        Parameters: `insecure` accepts any certificate, and a way down to plain HTTP. Raises Unreachable.
        """
        session = await self.session()
        client = importlib.import_module("aiohttp")
        sent = dict(headers or {})
        origin = url
        for _ in range(_MAX_REDIRECTS + 1):
            tls = await in_thread(self._certificates.context, urlsplit(url).netloc, insecure)
            try:
                response = await session.request(
                    method,
                    _url(url),
                    headers=sent,
                    data=data,
                    allow_redirects=False,
                    ssl=tls,
                    proxy=_proxy(url),
                )
            except (client.ClientError, TimeoutError, ValueError) as error:
                reason, passes = _reason(error)
                raise Unreachable(f'{method.capitalize()} "{_shown(url)}": {reason}', passes=passes) from error
            try:
                location = response.headers.get("Location", "")
                if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or not location:
                    yield response
                    return
            finally:
                response.release() if response.content.at_eof() else response.close()
            target = urljoin(url, location)
            check_way(origin, target, insecure)
            if _origin(target) != _origin(url):
                # They were for the one that sends us away, and for nobody else.
                sent.pop("Authorization", None)
            url = target
        raise Unreachable(f'{method.capitalize()} "{_shown(origin)}": stopped after {_MAX_REDIRECTS} redirects')


async def pieces(answer: aiohttp.ClientResponse, *, seconds: float = _IDLE_TIMEOUT) -> AsyncIterator[bytes]:
    """An answer's body, as it comes. Raises Unreachable when it breaks off, or comes too slowly.

    Parameters: within `seconds` some kilobytes must come.
    """
    client = importlib.import_module("aiohttp")
    since, came = time.monotonic(), 0
    try:
        while piece := await answer.content.read(_READ_SIZE):
            came += len(piece)
            if came >= _SLOWEST:
                since, came = time.monotonic(), 0
            elif time.monotonic() - since > seconds:
                raise Unreachable(f"{answer.url.host}: the answer comes too slowly", passes=True)
            yield piece
    except (client.ClientError, TimeoutError, ConnectionError) as error:
        message = f"{answer.url.host}: the answer broke off: {error or 'timed out'}"
        raise Unreachable(message, passes=True) from error


async def beginning(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """A small answer's body; of one that is longer than `limit` bytes, some more than these. Raises Unreachable."""
    data = bytearray()
    try:
        async with asyncio.timeout(_WHOLE_TIMEOUT):
            async for piece in pieces(answer):
                data += piece
                if len(data) > limit:
                    break
    except TimeoutError as error:
        raise Unreachable(f"{answer.url.host}: an answer that does not end") from error
    return bytes(data)


def check_way(registry: str, target: str, insecure: bool) -> None:
    """Raises Unreachable for a URL that a registry must not send us to: unprotected, or into this machine."""
    parts = urlsplit(target)
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise Unreachable(f'Get "{_shown(registry)}": refusing to go on to {_shown(target)}: not https')
    host = parts.hostname or ""
    if not host or (is_local(host) and not is_local(urlsplit(registry).hostname or "")):
        raise Unreachable(
            f'Get "{_shown(registry)}": refusing to go on to {_shown(target)}: an address of this machine'
        )


def _url(url: str) -> Any:
    """As it stands: a signed URL must not be quoted anew."""
    return importlib.import_module("yarl").URL(url, encoded=True)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _shown(url: str) -> str:
    """A URL for people: without user, query and what else may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]


def _reason(error: BaseException) -> tuple[str, bool]:
    """What went wrong, in Go's words where people know them; and whether it may go well the next time."""
    if isinstance(error, TimeoutError):
        return "net/http: request canceled while waiting for connection (Client.Timeout exceeded)", True
    kind = type(error).__name__
    cause = getattr(error, "os_error", None)
    host = getattr(error, "host", "")
    if kind == "ClientConnectorDNSError":
        return f"dial tcp: lookup {host}: no such host", False
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}:{getattr(error, 'port', '')}: connect: connection refused", False
    if kind == "ClientConnectorCertificateError":
        return _certificate(getattr(error, "certificate_error", error)), False
    if kind == "ClientConnectorSSLError":
        if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
            return "http: server gave HTTP response to HTTPS client", False
        return f"tls: {error}"[:300], False
    if kind == "ServerDisconnectedError":
        return "EOF", True
    if alert := _ALERT.search(str(error)):
        return f"remote error: tls: {alert[1].lower().replace('_', ' ')}", False
    return (str(error) or kind)[:300], isinstance(error, OSError)


_ALERT = re.compile(r"\[SSL: (?:TLSV1[0-9]*|SSLV3)_ALERT_([A-Z_]+)\]")
"""How OpenSSL tells that the other side refused us."""
_UNKNOWN_AUTHORITY = frozenset((18, 19, 20, 21))
"""OpenSSL's X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT to …_UNABLE_TO_VERIFY_LEAF_SIGNATURE, openssl-verify(1)."""


def _certificate(error: object) -> str:
    if getattr(error, "verify_code", 0) in _UNKNOWN_AUTHORITY:
        said = "certificate signed by unknown authority"
    else:
        said = str(getattr(error, "verify_message", "") or error)[:200]
    return f"tls: failed to verify certificate: x509: {said}"


def _proxy(url: str) -> str | None:
    """The proxy the environment names for this URL (`HTTPS_PROXY`, `NO_PROXY`…), never for this machine itself."""
    import urllib.request

    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_local(host):
        return None
    found = urllib.request.getproxies()
    if urllib.request.proxy_bypass(host):
        return None
    return found.get(parts.scheme) or found.get("all")
