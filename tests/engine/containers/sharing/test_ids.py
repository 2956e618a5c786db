"""Ranges of user ids: each container its own, none twice, all given back."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dosirak.engine.containers.sharing import ids
from dosirak.engine.containers.sharing.ids import IdMap, Ids
from dosirak.engine.errors import HostLimit


def spans(maps: list[IdMap]) -> tuple[int, int]:
    (only,) = maps
    return only.outside, only.outside + only.size


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Ids:
    """A pool of 4096 ids."""
    monkeypatch.setattr(ids, "_read", lambda path: "dosirak:8192:4096\n")
    return Ids(Path("/any"))


def test_two_containers_never_share_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_read", lambda path: "")
    made = Ids(Path("/some/engine"))
    found = sorted(spans(made.allot(f"c{number}", size)) for number, size in enumerate([65536, 1000, 65536, 5, 70000]))
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(found))
    # Free in systemd's plan, and where net.ipv4.ping_group_range still reaches.
    assert found[0][0] >= 0x70000000
    assert found[-1][1] <= 0x7FFE0000


def test_two_engines_begin_at_different_places() -> None:
    assert Ids(Path("/one")).allot("c") != Ids(Path("/two")).allot("c")
    assert Ids(Path("/one")).allot("c") == Ids(Path("/one")).allot("c")


def test_a_range_is_given_back_and_taken_again(pool: Ids) -> None:
    first = pool.allot("a", 2048)
    second = pool.allot("b", 2048)
    with pytest.raises(HostLimit, match="no 1024 user ids in a row are free between 8192 and 12287"):
        pool.allot("c", 1024)
    pool.release("a")
    assert pool.allot("c", 2048) == first
    pool.release("nobody")
    assert first != second


def test_what_is_on_record_is_not_given_out_again(pool: Ids) -> None:
    pool.hold("earlier", [IdMap(0, 8192, 3072)])
    pool.hold("keep-id", list(ids.SAME))  # the host's own ids are no part of the pool
    assert spans(pool.allot("new", 1024)) == (8192 + 3072, 12288)


@pytest.mark.parametrize(
    ("subuid", "subgid", "pool"),
    [
        ("", "", (0x70000000, 0x7FFDFFFF)),
        ("containers:100000:65536", "containers:100000:65536", (100000, 165535)),
        ("containers:1:2\ndosirak:500000:10", "dosirak:500000:10", (500000, 500009)),
        ("dosirak:500000:10", "dosirak:600000:10", (0x70000000, 0x7FFDFFFF)),
        ("dosirak:x:10\nroot:1:2", "dosirak:x:10", (0x70000000, 0x7FFDFFFF)),
        ("dosirak:4294967290:100", "dosirak:4294967290:100", (0x70000000, 0x7FFDFFFF)),
    ],
)
def test_the_hosts_own_entry_is_the_pool_where_both_files_have_it(
    subuid: str, subgid: str, pool: tuple[int, int]
) -> None:
    assert ids._pool([subuid, subgid]) == pool


def test_ids_are_the_same_there_and_back() -> None:
    maps = [IdMap(0, 1000, 10), IdMap(10, 5000, 5)]
    assert [ids.outer(maps, number) for number in (0, 9, 10, 14, 15)] == [1000, 1009, 5000, 5004, 15]
    assert [ids.inner(maps, number) for number in (1000, 1009, 5000, 5004, 7)] == [0, 9, 10, 14, 7]
