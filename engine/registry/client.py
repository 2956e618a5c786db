"""One registry server and one repository there: requests with the authorisation it asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

import msgspec

from dosirak.engine.content import Descriptor, media_types
from dosirak.engine.content.digests import digest_of
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import documents
from dosirak.engine.registry import errors
from dosirak.engine.registry.challenge import parse
from dosirak.engine.registry.credentials import Credentials
from dosirak.engine.registry.tokens import fetch
from dosirak.engine.registry.transport import Transport, pieces

if TYPE_CHECKING:
    import aiohttp

    from dosirak.engine.registry.hosts import Endpoint

_ACCEPT = ", ".join(
    (
        media_types.INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        media_types.MANIFEST,
        "application/vnd.docker.distribution.manifest.v2+json",
        "*/*",
    )
)
_MAX_ERROR = 64 << 10
_TRIES = 4
_PROGRESS = 1 << 20
"""Tries in a row; one that brought so many bytes begins a new row."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 20.0
"""Seconds between tries; a registry's Retry-After counts up to the longest."""
_MAX_PAGES = 100
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next')
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class _Tags(msgspec.Struct):
    """The answer of `tags/list` (distribution spec, "Listing tags")."""

    tags: list[str] | None = None


class Client:
    """Speaks to `endpoint` about `repository` ("library/busybox"); `actions`: "pull" or "pull,push"."""

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        repository: str,
        credentials: Credentials,
        actions: str = "pull",
    ) -> None:
        self.repository = repository
        self.scopes = [f"repository:{repository}:{actions}"] if repository else []
        self._transport = transport
        self._endpoint = endpoint
        # A mirror is somebody else: it never gets what was meant for the registry.
        self._credentials = Credentials() if endpoint.mirror else credentials
        self._base = ""
        self._authorization = ""

    async def login(self) -> None:
        """Finds out whether the registry takes the credentials. Raises Unauthorized, RegistryError, Unreachable."""
        await self.connect()
        sent = {"Authorization": self._authorization} if self._authorization else {}
        async with self._transport.request("GET", self._base, insecure=self._endpoint.insecure, headers=sent) as answer:
            if answer.status != 200:
                raise errors.Unauthorized(
                    f"login attempt to {self._base} failed with status: {answer.status} Unauthorized"
                )

    async def connect(self) -> None:
        """Finds out how the server is reached, and authorises when it wants that at once.

        Raises Unreachable, RegistryError, Unauthorized.
        """
        for scheme in self._endpoint.schemes:
            url = f"{scheme}://{self._endpoint.host}/v2/"
            try:
                async with self._transport.request("GET", url, insecure=self._endpoint.insecure) as answer:
                    self._base = url
                    if answer.status == 401:
                        await self._authorize(answer)
                    elif answer.status >= 400 and answer.status != 404:
                        raise errors.from_answer(answer.status, await self._read(answer, _MAX_ERROR))
                return
            except errors.Unreachable:
                if scheme == self._endpoint.schemes[-1]:
                    raise

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is no error; `path` is below the repository ("manifests/latest") or a whole URL of the server.

        Raises Unreachable, RegistryError, Unauthorized.
        """
        url = self._url(path)
        for attempt in (1, 2):
            sent = dict(headers or {})
            if self._authorization:
                sent["Authorization"] = self._authorization
            async with self._transport.request(
                method, url, insecure=self._endpoint.insecure, headers=sent, data=data
            ) as answer:
                if answer.status == 401 and attempt == 1 and data is None:
                    # A token may have run out, or covers less than this.
                    await self._authorize(answer)
                    continue
                if answer.status >= 400:
                    raise await self._refusal(answer)
                if answer.status >= 300:
                    raise errors.Unreachable(f"{self._endpoint.host}: a redirect where none is followed")
                yield answer
                return

    def _url(self, path: str) -> str:
        """A path in full. Uploads go where the registry says, but not to another server; the scheme stays ours."""
        if "://" not in path and not path.startswith("/"):
            return f"{self._base}{self.repository}/{path}"
        url = urljoin(self._base, path)
        _, _, rest = url.partition("://")
        if rest.partition("/")[0] != self._endpoint.host:
            raise errors.Unreachable(f"{self._endpoint.host}: refusing to upload to another server")
        return f"{self._base.partition('://')[0]}://{rest}"

    async def has(self, digest: str) -> bool:
        """Whether the repository has the blob. Raises RegistryError, Unreachable."""
        try:
            async with self.ask("HEAD", f"blobs/{digest}"):
                return True
        except errors.RegistryError as error:
            if error.http_status != 404:
                raise
            return False

    async def mount(self, digest: str, repository: str) -> str:
        """Takes the blob over from another repository of the registry: "" if it did, else where to upload it."""
        scope = f"repository:{repository}:pull"
        if scope not in self.scopes:
            self.scopes.append(scope)
        return await self._begin(query("blobs/uploads/", mount=digest, **{"from": repository}))

    async def begin(self) -> str:
        """Begins an upload: where it goes. Raises RegistryError, Unreachable."""
        return await self._begin("blobs/uploads/")

    async def _begin(self, path: str) -> str:
        async with self.ask("POST", path, headers={"Content-Length": "0"}) as answer:
            if answer.status == 201:
                return ""
            place = answer.headers.get("Location", "")
            if not place:
                raise errors.Unreachable(f"{self._endpoint.host}: an upload without a place")
            return place

    async def upload(self, place: str, blob: Descriptor, pieces: AsyncIterator[bytes]) -> None:
        """The whole blob in one request. Raises RegistryError, Unreachable."""
        path = f"{place}{'&' if '?' in place else '?'}{urlencode({'digest': blob.digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        async with self.ask("PUT", path, headers=headers, data=pieces if blob.size else b""):
            pass

    async def put_manifest(self, tag: str, data: bytes, descriptor: Descriptor) -> None:
        """Puts a manifest under a tag. Raises RegistryError, Unreachable."""
        async with self.ask("PUT", f"manifests/{tag}", headers={"Content-Type": descriptor.media_type}, data=data):
            pass

    async def tags(self) -> list[str]:
        """Every tag of the repository that is one. Raises RegistryError, Unreachable, InvalidRequest."""
        found: list[str] = []
        path = "tags/list"
        for _ in range(_MAX_PAGES):
            async with self.ask("GET", path) as answer:
                page = documents.decode(await self._read(answer, documents.MAX_MANIFEST), _Tags, "list of tags")
                found += page.tags or ()
                following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                break
            path = following[1]
        return [tag for tag in dict.fromkeys(found) if _TAG.fullmatch(tag)]

    async def manifest(self, which: str, descriptor: Descriptor | None = None) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest: what it is, and its bytes, verified against the digest and descriptor.

        Raises RegistryError, Unreachable, InvalidRequest.
        """

        async def get() -> tuple[str, bytes]:
            async with self.ask("GET", f"manifests/{which}", headers={"Accept": _ACCEPT}) as answer:
                return answer.content_type, await self._read(answer, documents.MAX_MANIFEST)

        media_type, data = await self._retried(get)
        found = Descriptor(media_type, digest_of(data), len(data))
        if which.startswith("sha256:") and found.digest != which:
            raise InvalidRequest(f"manifest verification failed for digest {which}")
        if descriptor is not None and descriptor.size != found.size:
            raise InvalidRequest(f"manifest {which} has {found.size} bytes, not {descriptor.size}")
        return found, data

    async def small(self, blob: Descriptor, limit: int) -> bytes:
        """A small blob (a config), verified. Raises RegistryError, Unreachable, InvalidRequest."""
        if blob.size > limit:
            raise InvalidRequest(f"blob {blob.digest} is larger than {limit} bytes")
        data = b"".join([piece async for piece in self.blob(blob)])
        if digest_of(data) != blob.digest:
            raise InvalidRequest(f"filesystem layer verification failed for digest {blob.digest}")
        return data

    async def blob(self, blob: Descriptor) -> AsyncGenerator[bytes, None]:
        """A blob's bytes, not verified, but never more than its size. Goes on where a connection broke off.

        Raises RegistryError, Unreachable, InvalidRequest.
        """
        done = 0
        tries = 0
        while done < blob.size or (blob.size == 0 and not tries):
            before = done
            try:
                wanted = {"Range": f"bytes={done}-"} if done else {}
                async with self.ask("GET", f"blobs/{blob.digest}", headers=wanted) as answer:
                    skip = done if answer.status != 206 else 0
                    async for piece in pieces(answer):
                        fresh = piece[skip:]
                        skip = max(0, skip - len(piece))
                        done += len(fresh)
                        if done > blob.size:
                            raise InvalidRequest(f"blob {blob.digest} is longer than its {blob.size} bytes")
                        if fresh:
                            yield fresh
                if blob.size == 0:
                    return
                if done < blob.size:
                    raise errors.Unreachable(f"blob {blob.digest}: unexpected EOF after {done} of {blob.size} bytes")
            except (errors.Unreachable, errors.RegistryError) as error:
                tries = 1 if done - before >= _PROGRESS else tries + 1
                await _pause(error, tries)

    async def _retried(self, ask: Any) -> Any:
        tries = 0
        while True:
            try:
                return await ask()
            except (errors.Unreachable, errors.RegistryError) as error:
                tries += 1
                await _pause(error, tries)

    async def _authorize(self, answer: aiohttp.ClientResponse) -> None:
        for challenge in parse(answer.headers.getall("WWW-Authenticate", [])):
            if challenge.scheme == "bearer":
                if self._credentials.registry_token:
                    self._authorization = f"Bearer {self._credentials.registry_token}"
                else:
                    token = await fetch(
                        self._transport, self._base, challenge, self.scopes, self._credentials, self._endpoint.insecure
                    )
                    self._authorization = f"Bearer {token}"
                return
            if challenge.scheme == "basic" and self._credentials.basic:
                if self._authorization == self._credentials.basic:
                    break
                self._authorization = self._credentials.basic
                return
            if challenge.scheme == "basic":
                url = f"{self._base}{self.repository}" if self.repository else self._base
                raise errors.RegistryError(401, "", f'Get "{url}": no basic auth credentials')

    async def _refusal(self, answer: aiohttp.ClientResponse) -> errors.RegistryError:
        body = b"" if answer.method == "HEAD" else await self._read(answer, _MAX_ERROR)
        error = errors.from_answer(answer.status, body)
        if answer.status == 401:
            for challenge in parse(answer.headers.getall("WWW-Authenticate", [])):
                if challenge.parameters.get("error") == "insufficient_scope":
                    error = errors.RegistryError(401, "DENIED", "denied: requested access to the resource is denied")
        error.retry_after = _seconds(answer.headers.get("Retry-After", ""))
        return error

    async def _read(self, answer: aiohttp.ClientResponse, limit: int) -> bytes:
        data = bytearray()
        async for piece in pieces(answer):
            data += piece
            if len(data) > limit:
                raise InvalidRequest(f"{self._endpoint.host}: an answer of more than {limit} bytes")
        return bytes(data)


async def _pause(error: errors.Unreachable | errors.RegistryError, tries: int) -> None:
    """Waits before another try; raises the error when it is none that passes, or was tried often enough."""
    after = 0.0
    if isinstance(error, errors.RegistryError):
        if error.http_status not in (429, 500, 502, 503, 504):
            raise error
        after = error.retry_after
    if tries >= _TRIES or "refused" in error.message or "no such host" in error.message:
        raise error
    await asyncio.sleep(min(max(after, _FIRST_PAUSE * 2 ** (tries - 1)), _LONGEST_PAUSE))


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def query(path: str, **parameters: str) -> str:
    """A path with its query."""
    return f"{path}?{urlencode(parameters)}"
