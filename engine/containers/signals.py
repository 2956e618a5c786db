"""Signals as people write them: "TERM", "SIGTERM", "15", "RTMIN+3"."""

from __future__ import annotations

import signal

from dosirak.engine.errors import InvalidRequest

# The real-time signals as the kernel and Docker number them; glibc keeps the first two for itself.
_RTMIN, _RTMAX = 34, 64
_NAMES = {name.removeprefix("SIG"): int(number) for name, number in signal.Signals.__members__.items()}
_NAMES |= {"RTMIN": _RTMIN, "RTMAX": _RTMAX}
_NAMES |= {f"RTMIN+{offset}": _RTMIN + offset for offset in range(1, 16)}
_NAMES |= {f"RTMAX-{offset}": _RTMAX - offset for offset in range(1, 15)}


def parse(text: str) -> int:
    """The signal's number. Raises InvalidRequest "invalid signal: x"."""
    if text.isascii() and text.isdigit():
        number = int(text)
        if 0 < number <= _RTMAX:
            return number
    elif (name := text.upper().removeprefix("SIG")) in _NAMES:
        return _NAMES[name]
    raise InvalidRequest(f"invalid signal: {text}")
