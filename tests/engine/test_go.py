"""Values as Go writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dosirak.engine.go import parse_bool, rfc3339, rfc3339_short

MOMENT = int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "found"),
    [("1", True), ("True", True), ("f", False), ("FALSE", False), ("tRUE", None), ("yes", None), ("", None)],
)
def test_only_the_words_of_go_are_booleans(text: str, found: bool | None) -> None:
    assert parse_bool(text) is found


@pytest.mark.parametrize(
    ("nanoseconds", "long", "short"),
    [
        (0, "05.000000000Z", "05Z"),
        (6, "05.000000006Z", "05.000000006Z"),
        (120_000_000, "05.120000000Z", "05.12Z"),
        (999_999_999, "05.999999999Z", "05.999999999Z"),
    ],
)
def test_times_have_nine_decimals_or_as_many_as_they_need(nanoseconds: int, long: str, short: str) -> None:
    assert rfc3339(MOMENT + nanoseconds) == f"2026-01-02T03:04:{long}"
    assert rfc3339_short(MOMENT + nanoseconds) == f"2026-01-02T03:04:{short}"
