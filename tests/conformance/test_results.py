"""What is read from other people's test output, and what of it counts as news."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.results import Result, compare, known, read
from conformance.suites import SUITES

TAP = """\
1..5
ok 1 runc run in 1203ms
not ok 2 - exec-help # 0.291s
# a diagnostic
ok 3 runc events # skip test requires cgroups_v2
not ok 4 mask paths [file #1]
"""


def test_names_lose_their_numbers_and_times() -> None:
    assert list(read("a.bats", TAP))[:4] == [
        Result("a.bats: runc run", "ok"),
        Result("a.bats: exec-help", "failed"),
        Result("a.bats: runc events", "skipped"),
        Result("a.bats: mask paths [file #1]", "failed"),
    ]


@pytest.mark.parametrize("tap", [TAP, "", "Traceback: no such file\n"])
def test_a_file_that_ends_early_has_failed(tap: str) -> None:
    assert list(read("a", tap))[-1] == Result("a: unfinished", "failed")


def test_one_failure_among_tests_of_a_name_is_a_failure() -> None:
    results = [Result("a: exit status 1", "ok"), Result("a: exit status 1", "failed"), Result("a: b", "ok")]
    found = compare(results, {"a: b": "a reason", "a: not run": "a reason"})
    assert (found.new, found.passed) == (("a: exit status 1",), ("a: b",))


@pytest.mark.parametrize("suite", SUITES)
def test_each_known_failure_has_its_reason(suite: str) -> None:
    expected = known(Path(__file__).parent / "expected" / f"{suite}.txt")
    assert expected and all(expected.values()) and all(": " in name for name in expected)
