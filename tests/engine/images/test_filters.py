"""`docker image ls --filter`, and the times it compares."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.content import Descriptor
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.images import Image, ImageConfig, RunConfig, times
from dosirak.engine.images.filters import _glob, select


def image(number: int, created: str, *names: str, **labels: str) -> Image:
    config = ImageConfig(architecture="amd64", os="linux", config=RunConfig(labels=labels or None))
    return Image(f"sha256:{number:064x}", Descriptor("", "", 0), config, (), names, created, 0)


OLD = image(1, "2020-01-01T00:00:00Z", "docker.io/library/old:1", a="1")
MIDDLE = image(2, "2022-01-01T00:00:00.5Z", "ghcr.io/x/middle:1", "ghcr.io/x/middle:2", a="2", b="")
NEW = image(3, "2024-01-01T00:00:00+01:00")
NEVER = image(4, "", "docker.io/library/never:1")
ALL = [OLD, MIDDLE, NEW, NEVER]


def resolve(name: str) -> Image:
    found = {"old": OLD, "middle": MIDDLE, "new": NEW, "never": NEVER}.get(name)
    if found is None:
        raise NotFound(f"No such image: {name}")
    return found


def ids(**filters: list[str]) -> list[int]:
    return [int(found.id[-4:], 16) for found in select(ALL, filters, resolve)]


CASES = [
    ({}, [3, 2, 1, 4]),
    ({"dangling": ["true"]}, [3]),
    ({"dangling": ["0"]}, [2, 1, 4]),
    ({"label": ["a"]}, [2, 1]),
    ({"label": ["a=1"]}, [1]),
    ({"label": ["a", "b="]}, [2]),
    ({"before": ["new"]}, [2, 1]),
    ({"before": ["new", "middle"]}, [1]),
    ({"since": ["old"]}, [3, 2]),
    ({"since": ["old"], "before": ["new"]}, [2]),
    ({"until": ["2022-01-01T00:00:00Z"]}, [1]),
    ({"until": ["1h"]}, [3, 2, 1]),
    ({"until": ["1640995201"]}, [2, 1]),
    ({"before": ["never"]}, [3, 2, 1, 4]),
    ({"reference": ["old"]}, [1]),
    ({"reference": ["docker.io/library/old:1"]}, [1]),
    ({"reference": ["o*:1"]}, [1]),
    ({"reference": ["*"]}, [1, 4]),
    ({"reference": ["*/*/middle"]}, [2]),
    ({"reference": ["ghcr.io/x/m[a-j]ddle:?"]}, [2]),
    ({"reference": ["ghcr.io/x/m[^a-h]ddle"]}, [2]),
    ({"reference": ["nothing", "ne\\ver"]}, [4]),
]


@pytest.mark.parametrize(("filters", "expected"), CASES)
def test_the_right_ones_are_left(filters: dict[str, list[str]], expected: list[int]) -> None:
    assert ids(**filters) == expected


def test_a_reference_filter_leaves_only_the_names_it_matches() -> None:
    [found] = select(ALL, {"reference": ["*/*/*:2"]}, resolve)
    assert found.names == ("ghcr.io/x/middle:2",)


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"colour": ["red"]}, InvalidRequest, "invalid filter 'colour'"),
        ({"dangling": ["perhaps"]}, InvalidRequest, "invalid filter"),
        ({"before": ["nothing"]}, NotFound, "No such image: nothing"),
        ({"until": ["yesterday"]}, InvalidRequest, "invalid value for 'until' filter"),
        ({"reference": ["["]}, InvalidRequest, "syntax error in pattern"),
        ({"reference": ["a\\"]}, InvalidRequest, "syntax error in pattern"),
        ({"reference": ["[z-a]"]}, InvalidRequest, "syntax error in pattern"),
    ],
)
def test_what_is_no_filter_is_refused(filters: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message.replace("[", r"\[")):
        ids(**filters)


@given(st.text("ab/*?", max_size=10), st.text("ab/", max_size=14))
def test_a_pattern_matches_what_go_s_rules_say(pattern: str, text: str) -> None:
    def matches(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            run = len(text) - len(text.lstrip("ab"))
            return any(matches(pattern[1:], text[taken:]) for taken in range(run + 1))
        return (
            bool(text)
            and (pattern[0] == text[0] or (pattern[0] == "?" and text[0] != "/"))
            and matches(pattern[1:], text[1:])
        )

    assert (_glob(pattern).fullmatch(text) is not None) == matches(pattern, text)


@given(st.text("*?[]^-\\a/:.", max_size=12))
def test_any_pattern_is_a_pattern_or_a_syntax_error(pattern: str) -> None:
    try:
        ids(reference=[pattern])
    except InvalidRequest as error:
        assert str(error) == "syntax error in pattern"


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    begun = time.monotonic()
    long = image(9, "", "docker.io/library/" + "a" * 240 + ":1")
    assert select([long], {"reference": ["*" * 5000 + "x", "*a" * 100 + "!", "*a" * 100 + ":[2-9]"]}, resolve) == []
    assert select([long], {"reference": ["*a" * 100 + ":1"]}, resolve) == [long]
    assert time.monotonic() - begun < 2


def test_times_are_read_to_the_nanosecond_in_every_zone() -> None:
    assert times.nanoseconds("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    assert times.nanoseconds("1970-01-01T02:00:00+01:30") == 1800 * 10**9
    assert times.nanoseconds("0001-01-01T00:00:00Z") == -62135596800 * 10**9
    assert times.nanoseconds("1970-01-02") == 86400 * 10**9
    for text in (None, "", "x", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00Z\n", "2024-01-01T99:00:00Z"):
        assert times.nanoseconds(text) is None


def test_now_is_a_time_that_can_be_read_back() -> None:
    moment = times.nanoseconds(times.now())
    assert moment is not None
    assert abs(moment - time.time_ns()) < 10**10
