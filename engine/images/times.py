"""RFC 3339 times as image configs have them, to the nanosecond."""

from __future__ import annotations

import time

from dosirak.engine.go import rfc3339_short
from dosirak.engine.state.moments import nanoseconds, until

__all__ = ["nanoseconds", "now", "until"]


def now() -> str:
    """The present time, as Go writes it."""
    return rfc3339_short(time.time_ns())
