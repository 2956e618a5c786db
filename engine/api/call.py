"""One API request as the handlers see it: parameters read and checked the way Docker's own server reads them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dosirak.engine.api import malformed
from dosirak.engine.api.framing import CutOff
from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from dosirak.engine.api.connection import Connection
    from dosirak.engine.api.rooms import Rooms
    from dosirak.engine.api.versions import Version

T = TypeVar("T")

JSON_LIMIT = 8 << 20
"""Bytes a JSON body may have. A container's whole configuration has a few kB, a seccomp profile some 20 kB."""

_FALSE = frozenset(("", "0", "no", "false", "none"))
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_READ_SIZE = 1 << 16
# Almost no body has either; one that does is looked through value by value.
_SUSPICIOUS = re.compile(rb"\\u0000|[0-9]{19}")


class Call:
    """A request on its way through one handler.

    Attributes: `rooms`, the engine; `version` to answer in; `vars` from the path; `request`, aiohttp's.
    """

    __slots__ = ("_query", "request", "rooms", "vars", "version")

    def __init__(self, request: BaseRequest, rooms: Rooms, version: Version, vars: Mapping[str, str]) -> None:
        self.request = request
        self.rooms = rooms
        self.version = version
        self.vars = vars
        self._query = request.rel_url.query

    @property
    def connection(self) -> Connection:
        """The connection this request came on."""
        return self.request.protocol  # type: ignore[return-value]  # ConnectionServer makes nothing else

    def text(self, name: str, default: str = "") -> str:
        """A query parameter. Raises InvalidRequest for one with a NUL."""
        value = self._query.get(name, default)
        if "\0" in value:
            raise InvalidRequest(f"invalid value for {name}: it contains a NUL byte")
        return value

    def texts(self, name: str) -> list[str]:
        """All values of a query parameter that may be repeated."""
        values = self._query.getall(name, [])
        if any("\0" in value for value in values):
            raise InvalidRequest(f"invalid value for {name}: it contains a NUL byte")
        return values

    def given(self, name: str) -> bool:
        """Whether the query has this parameter at all."""
        return name in self._query

    def flag(self, name: str, default: bool = False) -> bool:
        """A truth value: false for "", 0, no, false, none; anything else is true; `default` when not given."""
        value = self._query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, name: str) -> int | None:
        """A whole number; None when not given or empty. Raises InvalidRequest for anything that is none."""
        value = self.text(name)
        if not value:
            return None
        if _INTEGER.fullmatch(value) is None or not -(2**63) <= int(value) < 2**63:
            raise InvalidRequest(f'strconv.Atoi: parsing "{value[:40]}": invalid syntax')
        return int(value)

    def filters(self) -> dict[str, list[str]]:
        """The `filters` parameter: {"label": ["a"]}, or the older {"label": {"a": true}}."""
        value = self.text("filters")
        if not value:
            return {}
        read = _decode(value.encode(), dict[str, dict[str, bool] | list[str]], "invalid filter")
        return {
            key: list(values) if isinstance(values, list) else [name for name, on in values.items() if on]
            for key, values in read.items()
        }

    def json_parameter(self, name: str, type: type[T], default: T) -> T:
        """A query parameter that carries JSON (`buildargs`, `labels`)."""
        value = self.text(name)
        return self.parse_json(value, type, f"error reading {name}") if value else default

    @staticmethod
    def parse_json(value: str, type: type[T], what: str) -> T:
        """One value of a parameter that carries JSON. Raises InvalidRequest, beginning with `what`."""
        return _decode(value.encode(), type, what)

    async def json(self, type: type[T]) -> T | None:
        """The body as JSON of `type`; None when there is no body, or `null`.

        Raises InvalidRequest for another content type, malformed or too deep JSON, NULs in strings, too large bodies.
        """
        content_type = self.request.headers.get("Content-Type", "")
        if not self.request.body_exists or self.request.content_length == 0:
            if content_type and not _is_json(content_type):
                raise InvalidRequest(_not_json(content_type))
            return None
        if not _is_json(content_type):
            raise InvalidRequest(_not_json(content_type))
        try:
            body = await self._read(JSON_LIMIT)
        except CutOff as error:
            raise InvalidRequest(f"invalid JSON: {error}") from error
        if (bare := body.strip()) == b"null":
            return None
        if not bare:
            raise InvalidRequest("invalid JSON: got EOF while reading request body")
        return _decode(body, type, "invalid JSON")

    async def _read(self, limit: int) -> bytes:
        body = bytearray()
        async for part in self.body():
            body += part
            if len(body) > limit:
                raise InvalidRequest(f"request body too large (limit {limit} bytes)")
        return bytes(body)

    async def body(self) -> AsyncIterator[bytes]:
        """The body as it comes (an archive, a build's context), in pieces of up to 64 kB."""
        content = self.request.content
        while part := await content.read(_READ_SIZE):
            yield part


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _not_json(content_type: str) -> str:
    if not content_type:
        return "malformed Content-Type header (): mime: no media type"
    return f"unsupported Content-Type header ({content_type[:80]}): must be 'application/json'"


def _decode(body: bytes, type: type[T], what: str) -> T:
    try:
        if _SUSPICIOUS.search(body):
            _check_values(msgspec.json.decode(body))
        return msgspec.json.decode(body, type=type)
    except RecursionError as error:
        raise InvalidRequest(f"{what}: too deeply nested") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = malformed.explain(body) or str(error)
        raise InvalidRequest(said if said == malformed.TRAILING else f"{what}: {said}") from error


def _check_values(value: Any) -> None:
    """Refuse what Go's types can't hold, or C's: a NUL in a string, a number beyond 64 bits."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest("invalid JSON: a string contains a NUL character")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InvalidRequest(f"invalid JSON: number out of range: {value}")
    elif isinstance(value, list):
        for item in value:
            _check_values(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_values(key)
            _check_values(item)
