"""The service's log: one line a record, whatever a client writes into it."""

from __future__ import annotations

import logging
import sys

import pytest

from dosirak.engine.service.serve import Lines

FORGED = "x\n2026-01-01 INFO forged\x1b[2J"


def record(*, failed: bool = False) -> logging.LogRecord:
    try:
        raise ValueError(FORGED)
    except ValueError:
        return logging.LogRecord("api", logging.ERROR, "", 0, "GET %s", (FORGED,), sys.exc_info() if failed else None)


def forges(text: str) -> bool:
    return "\x1b" in text or any(line.startswith("2026-01-01") for line in text.splitlines())


@pytest.mark.parametrize("failed", [False, True])
def test_words_of_others_make_no_line_and_no_command(failed: bool) -> None:
    text = Lines("%(levelname)s %(message)s").format(record(failed=failed))
    assert not forges(text)
    assert text.startswith(r"ERROR GET x\n2026-01-01 INFO forged\x1b[2J")
    assert len(text.splitlines()) == 1 or failed


def test_a_traceback_follows_its_line_indented() -> None:
    first, *rest = Lines("%(levelname)s %(message)s").format(record(failed=True)).splitlines()
    assert first.startswith("ERROR")
    assert rest[0] == "  Traceback (most recent call last):" and all(line.startswith("  ") for line in rest)


@pytest.mark.parametrize("failed", [False, True])
def test_control_an_ordinary_formatter_is_forged(failed: bool) -> None:
    assert forges(logging.Formatter("%(levelname)s %(message)s").format(record(failed=failed)))
