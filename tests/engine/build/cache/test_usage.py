"""Which things of the cache a prune takes."""

from __future__ import annotations

import pytest

from dosirak.engine.build.cache.usage import MOUNT, STEP, Room, Usage, choose
from dosirak.engine.errors import InvalidRequest


def thing(id: str, size: int = 10, used: float = 100.0, kind: str = STEP, **more: bool) -> Usage:
    values = {"shared": False, "in_use": False, **more}
    return Usage(id, kind, f"did {id}", size, created=1.0, used=used, uses=1, **values)


THINGS = [
    thing("new", used=300),
    thing("old", used=100),
    thing("image", 50, 50, shared=True),
    thing("busy", in_use=True),
]
THINGS += [thing("mount", 40, 200, MOUNT)]


def taken(filters: dict[str, list[str]] | None = None, all: bool = False, room: Room = Room(), free: int = 0) -> str:
    return " ".join(one.id for one in choose(THINGS, filters or {}, all=all, room=room, disk_free=free))


def test_everything_unused_goes_and_with_all_what_images_stand_on_too() -> None:
    assert taken() == "old mount new"
    assert taken(all=True) == "image old mount new"


@pytest.mark.parametrize(
    ("room", "free", "expected"),
    [
        (Room(least=1000), 0, ""),
        (Room(least=60), 0, "old"),
        (Room(least=59), 0, "old mount"),
        (Room(most=20), 0, "old mount"),
        (Room(most=20, least=60), 0, "old"),
        (Room(free=100), 95, "old"),
        (Room(free=100), 100, ""),
        (Room(free=1000), 0, "old mount new"),
    ],
)
def test_the_longest_unused_goes_until_the_rest_fits(room: Room, free: int, expected: str) -> None:
    assert taken(room=room, free=free) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"until": ["150"]}, "old"),
        ({"unused-for": ["250"]}, "old mount"),
        ({"id": ["new", "old"]}, "old new"),
        ({"type": ["exec.cachemount"]}, "mount"),
        ({"description": ["~did n"]}, "new"),
        ({"inuse": ["true"]}, ""),
        ({"private": ["1"]}, "old mount new"),
        ({"mutable": ["true"]}, "mount"),
        ({"label": ["x"]}, ""),
    ],
)
def test_filters_are_buildkits(filters: dict[str, list[str]], expected: str) -> None:
    assert taken(filters) == expected


@pytest.mark.parametrize("filters", [{"nosuch": ["1"]}, {"until": ["1", "2"]}, {"until": ["x"]}, {"id": ["~("]}])
def test_a_wrong_filter_is_said(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidRequest):
        taken(filters)
