"""`--time-offset`: the clocks of a container's time namespace (time_namespaces(7)).

Docker has no such flag; it travels as an annotation, so that Docker's own client can give it too:
`docker run --annotation dosirak.time-offset=boottime=86400`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dosirak.engine.errors import InvalidRequest

ANNOTATION = "dosirak.time-offset"
_CLOCKS = ("boottime", "monotonic")
_SECONDS = re.compile(r"[+-]?\d{1,10}")


def time_offsets(annotations: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """`linux.timeOffsets`: of "60" for both clocks, of "boottime=60,monotonic=-3" for each. Raises InvalidRequest."""
    text = annotations.get(ANNOTATION, "")
    if not text:
        return {}
    found = {}
    for part in text.split(","):
        clock, separator, seconds = part.rpartition("=")
        if (separator and clock not in _CLOCKS) or not _SECONDS.fullmatch(seconds):
            raise InvalidRequest(
                f'invalid time offset "{text}": must be SECONDS, or boottime=SECONDS and monotonic=SECONDS'
            )
        for name in (clock,) if separator else _CLOCKS:
            found[name] = {"secs": int(seconds), "nanosecs": 0}
    return found
