"""Durations as Go writes them: 1h30m, 1.5s, 300ms."""

from __future__ import annotations

import re
from fractions import Fraction

from dosirak.engine.build.errors import DockerfileError

_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises DockerfileError when `text` is no duration or longer than 292 years."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = Fraction(0)
    position = 0
    while match := _PART.match(rest, position):
        total += Fraction(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not rest or position < len(rest) or total > _LONGEST or len(rest) > 100:
        hint = "" if not rest or rest[-1:].isalpha() else " (a unit is missing: 30s, 5m)"
        raise DockerfileError(f'time: invalid duration "{text}"{hint}')
    return sign * int(total)
