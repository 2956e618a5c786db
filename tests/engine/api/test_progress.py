"""The progress text of Docker's messages."""

from __future__ import annotations

import pytest

from dosirak.engine.api.progress import bar, line
from dosirak.engine.registry import Message


@pytest.mark.parametrize(
    ("current", "total", "expected"),
    [
        (0, 100, "[>" + " " * 50 + "]       0B/100B"),
        (50, 100, "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"),
        (1_234_567, 1_234_567, "[" + "=" * 50 + ">]  1.235MB/1.235MB"),
        (200, 100, "[" + "=" * 50 + ">]     200B"),
        (5_000, 0, "     5kB"),
    ],
)
def test_a_bar_is_dockers(current: int, total: int, expected: str) -> None:
    assert bar(current, total) == expected


def test_a_layer_without_a_count_has_an_empty_detail() -> None:
    assert line(Message("Waiting", "abc", layer=True)) == {"status": "Waiting", "progressDetail": {}, "id": "abc"}
    assert line(Message("Digest: sha256:0")) == {"status": "Digest: sha256:0"}
