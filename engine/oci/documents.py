"""JSON by the C parts of `json` alone: importing all of it takes longer than to make a container."""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"


class _Manner:
    """What `json.JSONDecoder` tells its scanner."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    memo: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def parse_constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")


_scan = make_scanner(_Manner)  # type: ignore[arg-type]  # any object of these attributes


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON")


_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)


def loads(data: bytes) -> Any:
    """A document. Raises ValueError."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode()
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        found, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at character {stop.value}") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"more than one JSON value: at character {end}")
    return found


def dumps(value: Any) -> str:
    """In one line without spaces, as Go writes it. Raises TypeError, ValueError."""
    return "".join(_encode(value, 0))


def pretty(value: Any, indent: str = "  ", before: str = "") -> str:
    """In lines, as people read it."""
    inner = before + indent
    if isinstance(value, dict) and value:
        lines = [f"{inner}{dumps(str(key))}: {pretty(one, indent, inner)}" for key, one in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{before}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + pretty(one, indent, inner) for one in value) + f"\n{before}]"
    return dumps(value)
