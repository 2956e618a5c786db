"""Times as Docker's API writes and reads them."""

from __future__ import annotations

import re

from dosirak.engine import go
from dosirak.engine.errors import InvalidRequest

NEVER = "0001-01-01T00:00:00Z"

_STAMP = re.compile(r"([+-]?\d{1,12})(?:\.(\d{0,20}))?")


def rfc3339(at: float) -> str:
    """Unix seconds as Go writes a time: RFC 3339 in UTC with up to nine decimals; 0.0 is "never"."""
    if not at:
        return NEVER
    return rfc3339_ns(int(at * 1e9))


def rfc3339_ns(ns: int) -> str:
    """Unix nanoseconds as Go writes a time."""
    return go.rfc3339_short(ns)


def parse_ns(value: str, name: str) -> int | None:
    """A query's `since` or `until`, "seconds[.fraction]", as unix nanoseconds; None for "".

    Raises InvalidRequest in Docker's words.
    """
    if not value:
        return None
    stamp = _STAMP.fullmatch(value)
    if stamp is None:
        raise InvalidRequest(
            f"invalid value for '{name}': invalid timestamp \"{value[:40]}\": invalid seconds: invalid syntax"
        )
    return int(stamp[1]) * 1_000_000_000 + int((stamp[2] or "")[:9].ljust(9, "0"))
