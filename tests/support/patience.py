"""How long a test waits for what must come: `DOSIRAK_TESTS_SLOWER` says how many times slower this machine is."""

from __future__ import annotations

import os

SLOWER = float(os.environ.get("DOSIRAK_TESTS_SLOWER") or 1)


def patient(seconds: float) -> float:
    """This long on an ordinary machine, longer on a slow one."""
    return seconds * SLOWER
