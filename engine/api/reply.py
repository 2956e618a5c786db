"""The shapes of an answer: JSON, nothing, Docker's error body, a stream."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp.web_response import Response, StreamResponse

from dosirak import __version__
from dosirak.engine.api import versions

if TYPE_CHECKING:
    from dosirak.engine.api.call import Call

_encoder = msgspec.json.Encoder()

COMMON_HEADERS = {
    "Api-Version": versions.text(versions.MAXIMUM),
    "Docker-Experimental": "false",
    "Ostype": platform.system().lower(),
    "Server": f"Dosirak/{__version__} ({platform.system().lower()})",
}
_JSON = {**COMMON_HEADERS, "Content-Type": "application/json"}


def json(document: Any, status: int = 200) -> Response:
    """`document` as JSON with the final newline Docker sends."""
    return Response(body=encode(document), status=status, headers=_JSON)


def encode(document: Any) -> bytes:
    """`document` as one line of JSON."""
    return _encoder.encode(document) + b"\n"


def empty(status: int = 204) -> Response:
    """An answer without a body."""
    return Response(status=status, headers=COMMON_HEADERS)


def text(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A plain text answer."""
    return Response(text=body, status=status, headers={**COMMON_HEADERS, **(headers or {})})


def error(message: str, status: int) -> Response:
    """Docker's error body: {"message": …}; 304 has none."""
    if status == 304:
        return empty(304)
    return json({"message": message}, status)


async def stream(call: Call, content_type: str = "application/json") -> StreamResponse:
    """Begin an answer whose end is not known yet; its head is sent at once.

    The handler is cancelled when the client goes away (`Connection.end_with_client`).
    """
    call.connection.end_with_client()
    response = StreamResponse(headers={**COMMON_HEADERS, "Content-Type": content_type})
    await response.prepare(call.request)
    return response
