"""Random tests that can be run again: one seed for each, chosen here, printed when the test fails.

`DOSIRAK_TESTS_SEED=N` runs with that seed; `DOSIRAK_TESTS_LONG=1` runs the long form (`make test-faults`).
"""

from __future__ import annotations

import os
import secrets

LONG = os.environ.get("DOSIRAK_TESTS_LONG", "") not in ("", "0")
"""Whether random tests should take minutes instead of seconds."""


def seed() -> int:
    """This test's seed; said on its output, which pytest shows when it fails."""
    chosen = int(os.environ.get("DOSIRAK_TESTS_SEED") or secrets.randbelow(1 << 32))
    print(f"seed {chosen}: to run the same again, DOSIRAK_TESTS_SEED={chosen}", flush=True)
    return chosen
