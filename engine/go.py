"""Values as Go reads and writes them: Docker's API is made of them.

Imported by monitors, too, of which there may be hundreds: it needs nothing but `time`.
"""

from __future__ import annotations

import time

_TRUTHS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
_TRUTHS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


def parse_bool(text: str) -> bool | None:
    """What strconv.ParseBool makes of it; None where that fails."""
    return _TRUTHS.get(text)


def rfc3339(nanoseconds: int) -> str:
    """A time in UTC with all nine decimals, as logs have it (time.RFC3339Nano of Docker's jsonlog).

    Parameters: `nanoseconds`: since 1970.
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def rfc3339_short(nanoseconds: int) -> str:
    """A time in UTC with as many decimals as it has, as Go writes it in JSON (time.RFC3339Nano)."""
    return rfc3339(nanoseconds)[:-1].rstrip("0").rstrip(".") + "Z"
