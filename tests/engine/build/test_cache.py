"""The step cache: records kept in the database, and what makes two steps the same work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dosirak.engine.build import cache
from dosirak.engine.build.cache import Record, StepCache
from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.graph import Base, Context, CopyFiles, Execute
from dosirak.engine.content import Descriptor
from dosirak.engine.layers import LayerInfo
from dosirak.engine.state import Database

DIGEST = "sha256:" + "1" * 64
LAYER = LayerInfo(DIGEST, Descriptor("application/vnd.oci.image.layer.v1.tar", "sha256:" + "2" * 64, 10), 7)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db")
    yield opened
    opened.close()


def test_record_is_found_under_each_of_its_keys_and_survives_a_restart(database: Database) -> None:
    record = Record("state", LAYER, 5)
    StepCache(database).put(["one", "two"], record)
    again = StepCache(database)
    assert again.get("one") == again.get("two") == record
    assert again.get("three") is None
    assert set(again.digests()) == {LAYER.diff_id, LAYER.descriptor.digest}


def test_later_record_replaces_and_forgotten_one_is_gone(database: Database) -> None:
    steps = StepCache(database)
    steps.put(["k"], Record("old", LAYER, 1))
    steps.put(["k"], Record("new", None, 2))
    assert steps.get("k") == Record("new", None, 2)
    assert steps.digests() == []
    steps.forget("k")
    assert steps.get("k") is None


def test_use_is_written_down_once_a_build(database: Database) -> None:
    steps = StepCache(database)
    steps.put(["k"], Record("s", None, 1))
    database.execute("UPDATE build_cache SET used_at = 0")
    steps.get("k")
    assert database.execute("SELECT used_at FROM build_cache").fetchone()[0] == 0
    steps.touch()
    assert database.execute("SELECT used_at FROM build_cache").fetchone()[0] > 1e9


def test_record_of_another_version_is_no_record(database: Database) -> None:
    database.execute("INSERT INTO build_cache VALUES ('k', ?, 0)", (b'{"other": 1}',))
    assert StepCache(database).get("k") is None
    assert StepCache(database).digests() == []


RUN = Execute(Base(""), ("sh", "-c", "x"), ("A=1",), ("http_proxy=p",))


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, argv=("sh", "-c", "y")),
        replace(RUN, argv=("sh", "-c x")),
        replace(RUN, env=("A=2",)),
        replace(RUN, cwd="/w"),
        replace(RUN, user="me"),
        replace(RUN, network="none"),
        replace(RUN, script=("s", "#!/bin/sh")),
        replace(RUN, mounts=((Mount(kind="tmpfs", target="/t"), None),)),
    ],
)
def test_run_that_differs_in_anything_is_other_work(other: Execute) -> None:
    assert cache.run_state(other, "p", (), ()) != cache.run_state(RUN, "p", (), ())


def test_run_on_another_parent_mount_or_host_entry_is_other_work() -> None:
    states = {
        cache.run_state(RUN, "p", (), ()),
        cache.run_state(RUN, "q", (), ()),
        cache.run_state(RUN, "p", ("m",), ()),
        cache.run_state(RUN, "p", (), ("h:1.2.3.4",)),
    }
    assert len(states) == 4


def test_proxy_and_vertex_identity_do_not_matter() -> None:
    same = replace(RUN, transparent=(), parent=Base("other"))
    assert cache.run_state(same, "p", (), ()) == cache.run_state(RUN, "p", (), ())


COPY = CopyFiles(Base(""), Context(), ("a",), (), "/d", "COPY")


def test_copy_is_what_is_copied_not_where_it_was() -> None:
    moved = replace(COPY, paths=("other/a",), source=Base("x"))
    assert cache.copy_state(moved, "p", "sum") == cache.copy_state(COPY, "p", "sum")
    for other in (replace(COPY, destination="/d/"), replace(COPY, chown="1"), replace(COPY, unpack=True)):
        assert cache.copy_state(other, "p", "sum") != cache.copy_state(COPY, "p", "sum")
    assert cache.copy_state(COPY, "p", "other sum") != cache.copy_state(COPY, "p", "sum")


def test_shortcut_names_the_source_and_its_paths() -> None:
    keys = {
        cache.copy_shortcut(COPY, "p", "s"),
        cache.copy_shortcut(COPY, "p", "t"),
        cache.copy_shortcut(replace(COPY, paths=("b",)), "p", "s"),
        cache.copy_state(COPY, "p", "s"),
    }
    assert len(keys) == 4
