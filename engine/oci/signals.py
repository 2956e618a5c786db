"""A signal by its name or number, as `kill` takes it."""

from __future__ import annotations

from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import signals as signal


def number(text: str) -> int:
    """ "15", "TERM" and "SIGTERM" are the same. Raises Failure."""
    if text.isdecimal() and 0 <= int(text) < signal.NSIG:
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    found: int | None = getattr(signal, name, None)
    if found is None or name.startswith("SIG_"):
        raise Failure(f"unknown signal {text!r}")
    return int(found)
