"""A file by its URL: what `docker import http://…` and ADD read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.registry.errors import Unreachable
from dosirak.engine.registry.transport import beginning, pieces

if TYPE_CHECKING:
    from dosirak.engine.registry.transport import Transport

_LONGEST_REASON = 1024
_AS_THEY_ARE = "%/:=&?~+!$,;'@()*[]"
"""What a URL's path and query keep; blanks and letters beyond ASCII go as their UTF-8 bytes (RFC 3986, 2.5)."""


@dataclass(frozen=True, slots=True)
class Download:
    """`url`: without its user and password; `size`: bytes to come, 0 if the server does not say; `body`: read once.
    `modified`: the server's Last-Modified, "" if it does not say."""

    url: str
    size: int
    body: AsyncIterator[bytes]
    modified: str = ""


@asynccontextmanager
async def download(transport: Transport, url: str) -> AsyncIterator[Download]:
    """Inside, the file can be read as it comes. A URL without a scheme is one of http, as Docker has it.

    Raises InvalidRequest, NotFound, Unreachable; the body too. From https nobody is sent on to http.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, named = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not named:
        raise InvalidRequest(f"invalid URL to download from: {url[:200]!r}")
    path, query = (quote(part, _AS_THEY_ARE, errors="surrogateescape") for part in (parts.path, parts.query))
    whole = parts._replace(path=path, query=query, fragment="").geturl()
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    async with transport.request("GET", whole, insecure=parts.scheme == "http") as answer:
        if answer.status >= 400:
            said = (await beginning(answer, _LONGEST_REASON))[:_LONGEST_REASON].decode(errors="replace").strip()
            message = f"failed to GET {shown} with status {answer.status} {answer.reason or ''}".rstrip()
            kind = NotFound if answer.status == 404 else InvalidRequest if answer.status < 500 else Unreachable
            raise kind(f"{message}: {said}" if said else message)
        modified = answer.headers.get("Last-Modified", "")
        yield Download(shown, max(0, answer.content_length or 0), pieces(answer), modified)
