"""Docker's matching rules."""

from __future__ import annotations

import pytest

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.state import filters as match


def test_values_of_one_key_are_alternatives():
    assert match.exact({"status": ["exited", "created"]}, "status", "created")
    assert not match.exact({"status": ["exited"]}, "status", "created")
    assert match.exact({}, "status", "created")


def test_patterns_are_regular_expressions_and_a_broken_one_matches_itself_only():
    assert match.pattern({"name": ["^web.$"]}, "name", "web1")
    assert match.pattern({"name": ["eb"]}, "name", "web1")
    assert not match.pattern({"name": ["["]}, "name", "web1")
    assert match.pattern({"name": ["["]}, "name", "[")


def test_all_given_labels_must_be_there():
    have = {"a": "1", "b": ""}
    assert match.labels({"label": ["a", "b="]}, "label", have)
    assert not match.labels({"label": ["a=2"]}, "label", have)
    assert not match.labels({"label": ["c"]}, "label", have)


@pytest.mark.parametrize(("values", "truth"), [(["1"], True), (["true"], True), (["0"], False), (["False"], False)])
def test_truth_values(values, truth):
    assert match.boolean({"dangling": values}, "dangling", not truth) is truth


@pytest.mark.parametrize("values", [["yes"], ["1", "0"], [""]])
def test_what_is_no_truth_value_is_refused(values):
    with pytest.raises(InvalidRequest, match="invalid filter 'dangling="):
        match.boolean({"dangling": values}, "dangling", False)
