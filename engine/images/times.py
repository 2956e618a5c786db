"""RFC 3339 times as image configs have them, to the nanosecond."""

from __future__ import annotations

import time

from dosirak.engine.state.moments import nanoseconds, until

__all__ = ["nanoseconds", "now", "until"]


def now() -> str:
    """The present time, as Go writes it."""
    seconds, rest = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}".rstrip("0").rstrip(".") + "Z"
