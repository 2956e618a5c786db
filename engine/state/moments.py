"""Times as people give them to filters: RFC 3339, unix seconds, or how long ago; to the nanosecond."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from dosirak.engine.errors import InvalidRequest

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(?:([Zz])|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)
_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|us|µs|ns|[hms])", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def nanoseconds(text: str | None) -> int | None:
    """An RFC 3339 time (or the beginning of one, as Docker takes) as unix nanoseconds; None for anything else."""
    found = _RFC3339.fullmatch(text or "")
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, off_hours, off_minutes = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), tzinfo=UTC)
    except ValueError:
        return None
    if sign:
        offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
        moment = moment - offset if sign == "+" else moment + offset
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) + int(second or 0)
    return whole * 10**9 + int((fraction or "").ljust(9, "0"))


def until(text: str) -> int:
    """The value of an `until` filter as unix nanoseconds: a time, unix seconds, or a duration ("1h30m") before now.

    Raises InvalidRequest.
    """
    if found := _UNIX.fullmatch(text):
        return int(found[1]) * 10**9 + int((found[2] or "").ljust(9, "0"))
    if (moment := nanoseconds(text)) is not None:
        return moment
    if _DURATION.fullmatch(text):
        return time.time_ns() - int(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)) * 1e9)
    raise InvalidRequest(f"invalid value for 'until' filter: failed to parse value as time or duration: {text[:80]!r}")
