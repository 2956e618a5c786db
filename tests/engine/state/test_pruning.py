"""The filters that all prunes have."""

from __future__ import annotations

import time

import pytest

from dosirak.engine.errors import Conflict, InvalidRequest
from dosirak.engine.state.moments import until
from dosirak.engine.state.pruning import Once, choice

DAY = 86400 * 10**9


@pytest.mark.parametrize(
    ("filters", "takes"),
    [
        ({}, True),
        ({"label": ["keep=no"]}, True),
        ({"label": ["keep"]}, True),
        ({"label": ["keep=yes"]}, False),
        ({"label": ["keep", "other"]}, False),
        ({"label!": ["keep"]}, False),
        ({"label!": ["keep=yes"]}, True),
        ({"until": ["24h"]}, True),
        ({"until": ["72h"]}, False),
        ({"until": ["72h"], "label": ["keep"]}, False),
    ],
)
def test_labels_and_age(filters, takes):
    assert choice(filters).takes(time.time_ns() - 2 * DAY, {"keep": "no"}) is takes


def test_what_has_no_age_is_spared_by_until():
    assert choice({}).takes(None, {})
    assert not choice({"until": ["1s"]}).takes(None, {})


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"status": ["exited"]}, "invalid filter 'status'"),
        ({"until": ["1h", "2h"]}, "more than one until filter specified"),
        ({"until": ["soon"]}, "failed to parse value as time or duration"),
        ({"until": [""]}, "failed to parse value as time or duration"),
    ],
)
def test_a_wrong_filter_is_refused(filters, words):
    with pytest.raises(InvalidRequest, match=words):
        choice(filters)


def test_one_at_a_time():
    once = Once()
    with once.running(), pytest.raises(Conflict, match="a prune operation is already running"), once.running():
        pass
    with once.running():
        pass


def test_moments():
    assert until("1700000000.5") == 1700000000_500000000
    assert until("2023-11-14T22:13:20Z") == 1700000000 * 10**9
    for text, seconds in (("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5), ("2m3s", 123)):
        assert abs(time.time_ns() - until(text) - seconds * 1e9) < 5e9
