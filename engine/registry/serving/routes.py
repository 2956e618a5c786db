"""The distribution spec's requests, each to its answer (opencontainers/distribution-spec, spec.md, "Endpoints")."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from aiohttp.web_exceptions import HTTPException
from aiohttp.web_fileresponse import FileResponse
from aiohttp.web_response import Response, StreamResponse

from dosirak.engine.errors import EngineError
from dosirak.engine.images import documents
from dosirak.engine.registry.serving.model import Refused, Wanted
from dosirak.engine.registry.serving.shelf import NAME

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from dosirak.engine.content import Store
    from dosirak.engine.registry.serving.passwords import Passwords
    from dosirak.engine.registry.serving.pushes import Pushes, Upload
    from dosirak.engine.registry.serving.shelf import Shelf

log = logging.getLogger(__name__)

_PATH = re.compile(
    rf"/v2/(?:(?P<name>{NAME})/)?(?P<what>manifests|blobs/uploads|blobs|tags|referrers|_catalog)/?(?P<rest>.*)"
)
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
_PAGE = 1000
_INDEX = "application/vnd.oci.image.index.v1+json"

_Handler = Callable[["BaseRequest", str, str], Awaitable[StreamResponse]]


class Routes:
    """Answers a served registry's requests."""

    def __init__(self, wanted: Wanted, shelf: Shelf, pushes: Pushes, store: Store, passwords: Passwords) -> None:
        self._wanted = wanted
        self._passwords = passwords
        self._shelf = shelf
        self._pushes = pushes
        self._store = store
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("GET", "manifests"): self._manifest,
            ("GET", "blobs"): self._blob,
            ("GET", "tags"): self._tags,
            ("GET", "_catalog"): self._catalog,
            ("GET", "referrers"): self._referrers,
            ("PUT", "manifests"): self._put_manifest,
            ("POST", "blobs/uploads"): self._begin,
            ("GET", "blobs/uploads"): self._status,
            ("PATCH", "blobs/uploads"): self._append,
            ("PUT", "blobs/uploads"): self._finish,
            ("DELETE", "blobs/uploads"): self._cancel,
        }

    async def answer(self, request: BaseRequest) -> StreamResponse:
        """The answer to a request, whatever goes wrong."""
        try:
            return await self._dispatch(request)
        except Refused as error:
            return _error(error.status, error.code, str(error))
        except EngineError as error:
            return _error(error.status if error.status < 500 else 500, "UNKNOWN", error.message)
        except HTTPException as error:
            return _error(error.status, "UNKNOWN", error.reason or "")
        except (ConnectionError, asyncio.IncompleteReadError):
            return _error(400, "UNKNOWN", "the request broke off")
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return _error(500, "UNKNOWN", "unknown error")

    async def _dispatch(self, request: BaseRequest) -> StreamResponse:
        self._refuse_browsers(request)
        if not await self._passwords.admit(request.headers.get("Authorization", "")):
            realm = {"WWW-Authenticate": 'Basic realm="Dosirak"', **_VERSION}
            return _error(401, "UNAUTHORIZED", "authentication required", realm)
        path = unquote(request.rel_url.raw_path)
        if path.rstrip("/") == "/v2" and request.method in ("GET", "HEAD"):
            return Response(text="{}", content_type="application/json", headers=_VERSION)
        found = _PATH.fullmatch(path)
        handler = self._handlers.get((request.method.replace("HEAD", "GET"), found["what"])) if found else None
        if found is None or bool(found["name"]) is (found["what"] == "_catalog"):
            return _error(404, "NAME_UNKNOWN", "no such request to a registry")
        if handler is None:
            return _error(405, "UNSUPPORTED", "The operation is unsupported.")
        if self._wanted.read_only and request.method not in ("GET", "HEAD"):
            raise Refused(403, "DENIED", "requested access to the resource is denied: this registry is only read")
        return await handler(request, found["name"] or "", found["rest"])

    def _refuse_browsers(self, request: BaseRequest) -> None:
        """A web page must neither push nor read: not as a stranger, and not by a name of its own that leads here (DNS
        rebinding); with a password or a certificate such a name does not help it."""
        if "Origin" in request.headers:
            raise Refused(403, "DENIED", "requested access to the resource is denied: not for web pages")
        if not (self._passwords.wanted or self._wanted.certificate or _is_address(request.headers.get("Host", ""))):
            reason = "reach this registry by its address or this machine's name, or serve it with a password or TLS"
            raise Refused(403, "DENIED", f"requested access to the resource is denied: {reason}")

    async def _manifest(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        found, data = await self._shelf.manifest(name, rest)
        headers = {"Docker-Content-Digest": found.digest, "Content-Type": found.media_type, **_VERSION}
        return Response(body=data, headers=headers)

    async def _blob(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        if not self._pushes.has(name, rest):
            raise Refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Docker-Content-Digest": rest, "Content-Type": "application/octet-stream", **_VERSION}
        return FileResponse(self._store.path(rest), headers=headers)

    async def _tags(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        if rest != "list":
            raise Refused(404, "NAME_UNKNOWN", "no such request to a registry")
        return _page(request, f"/v2/{name}/tags/list", {"name": name}, "tags", self._shelf.tags(name))

    async def _catalog(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        return _page(request, "/v2/_catalog", {}, "repositories", self._shelf.repositories())

    async def _referrers(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        """Nothing here refers to another image; the spec wants an empty index then."""
        text = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": []})
        return Response(body=text.encode(), headers={"Content-Type": _INDEX, **_VERSION})

    async def _put_manifest(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        data = bytearray()
        async for piece in request.content.iter_any():
            data += piece
            if len(data) > documents.MAX_MANIFEST:
                raise Refused(413, "MANIFEST_INVALID", f"manifest invalid: more than {documents.MAX_MANIFEST} bytes")
        found = await self._pushes.put_manifest(name, rest, request.content_type, bytes(data))
        place = f"/v2/{name}/manifests/{found.digest}"
        return _made(201, {"Location": place, "Docker-Content-Digest": found.digest})

    async def _begin(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        query = request.rel_url.query
        if (wanted := query.get("mount")) and self._pushes.mount(name, wanted, query.get("from", "")):
            return _made(201, {"Location": f"/v2/{name}/blobs/{wanted}", "Docker-Content-Digest": wanted})
        upload = await self._pushes.begin(name)
        if digest := query.get("digest"):
            await self._pushes.append(name, upload, None, request.content.iter_any())
            return await self._end(name, upload, digest)
        return _uploading(202, name, upload, self._pushes.find(name, upload))

    async def _status(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        return _uploading(204, name, rest, self._pushes.find(name, rest))

    async def _append(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        upload = await self._pushes.append(name, rest, _start(request), request.content.iter_any())
        return _uploading(202, name, rest, upload)

    async def _finish(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        await self._pushes.append(name, rest, _start(request), request.content.iter_any())
        return await self._end(name, rest, request.rel_url.query.get("digest", ""))

    async def _end(self, name: str, upload: str, digest: str) -> StreamResponse:
        await self._pushes.finish(name, upload, digest)
        return _made(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    async def _cancel(self, request: BaseRequest, name: str, rest: str) -> StreamResponse:
        self._pushes.cancel(name, rest)
        return _made(204, {})


def _is_address(host: str) -> bool:
    """Whether a Host header names this machine, in a way that nobody else's name server can."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    with suppress(ValueError):
        ipaddress.ip_address(name.strip("[]"))
        return True
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    return name.lower() in ("", "localhost", machine, short, f"{short}.local")


def _start(request: BaseRequest) -> int | None:
    """Which byte of the upload a request's body begins with; None if it does not say."""
    text = request.headers.get("Content-Range", "")
    if not text:
        return None
    found = _RANGE.fullmatch(text.removeprefix("bytes "))
    if found is None:
        raise Refused(416, "BLOB_UPLOAD_INVALID", "blob upload invalid: malformed Content-Range")
    return int(found[1])


def _uploading(status: int, name: str, upload: str, found: Upload) -> Response:
    place = f"/v2/{name}/blobs/uploads/{upload}"
    ends = f"0-{max(0, found.size - 1)}"
    return _made(status, {"Location": place, "Range": ends, "Docker-Upload-UUID": upload})


def _made(status: int, headers: dict[str, str]) -> Response:
    return Response(status=status, headers={"Content-Length": "0", **headers, **_VERSION})


def _page(request: BaseRequest, path: str, fields: dict[str, Any], key: str, names: list[str]) -> Response:
    """A part of a sorted list, and where the next one is (spec.md, "Listing tags")."""
    query = request.rel_url.query
    wanted = query.get("n", "")
    if wanted and not (wanted.isascii() and wanted.isdigit()):
        raise Refused(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
    count = min(int(wanted[:9]) if wanted else _PAGE, _PAGE)
    rest = [name for name in names if name > query.get("last", "")]
    shown = rest[:count]
    headers = dict(_VERSION)
    if shown and len(rest) > count:
        headers["Link"] = f'<{path}?{urlencode({"last": shown[-1], "n": count})}>; rel="next"'
    return Response(text=json.dumps({**fields, key: shown}), content_type="application/json", headers=headers)


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]})
    return Response(status=status, text=text, content_type="application/json", headers=headers or _VERSION)
