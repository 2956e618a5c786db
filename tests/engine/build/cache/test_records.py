"""The step cache: records kept in the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.build.cache import Record, StepCache
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
