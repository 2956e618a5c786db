"""`python -m dosirak.engine.doctor`: look, judge, and write the report to standard output as JSON."""

from __future__ import annotations

import sys

import msgspec

from dosirak.engine import settings
from dosirak.engine.doctor.judging import judge
from dosirak.engine.doctor.looking import look
from dosirak.engine.errors import EngineError


def main() -> int:
    """The program. Returns 1 when something necessary is missing."""
    try:
        place = settings.load().data
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report = judge(look(place))
    sys.stdout.write(msgspec.json.encode({"ok": report.ok, "findings": report.findings}).decode() + "\n")
    return not report.ok


if __name__ == "__main__":
    sys.exit(main())
