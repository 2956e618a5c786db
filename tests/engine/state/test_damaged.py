"""Rows that can't be read are kept aside until somebody says that they are mended."""

from __future__ import annotations

from pathlib import Path

from dosirak.engine.state import Damaged, Database


def test_what_was_put_aside_is_there_for_the_next_service_with_its_bytes(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    damaged = Damaged(db, "network")
    damaged.keep("id2", "beta", b"\xff\x00")
    damaged.keep("id1", "alpha", b"{")
    damaged.keep("id1", "alpha", b"[")  # found again, and worse
    db.close()
    db = Database(tmp_path / "state.db")
    assert list(Damaged(db, "network")) == [("id1", "alpha"), ("id2", "beta")]
    assert list(Damaged(db, "endpoint")) == []
    assert db.execute("SELECT doc FROM damaged ORDER BY key").fetchall() == [(b"[",), (b"\xff\x00",)]
    db.close()


def test_what_is_mended_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    damaged = Damaged(db, "network")
    damaged.keep("id1", "alpha", b"{")
    damaged.forget("id1", "beta")
    assert list(damaged) == [("id1", "alpha")]
    damaged.forget("id1", "alpha")
    assert list(damaged) == list(Damaged(db, "network")) == []
    db.close()
