"""The state database: transactions, faults, versions."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.state import Database


@pytest.fixture
def db(tmp_path):
    database = Database(tmp_path / "state.db")
    yield database
    database.close()


def names(db):
    return [name for (name,) in db.execute("SELECT name FROM volumes ORDER BY name")]


def insert(db, name):
    db.execute("INSERT INTO volumes (name, doc) VALUES (?, ?)", (name, b"{}"))


def test_a_transaction_commits_all_or_nothing(db):
    with db.transaction():
        insert(db, "one")
        insert(db, "two")
    with pytest.raises(ZeroDivisionError), db.transaction():
        insert(db, "three")
        _ = 1 / 0
    assert names(db) == ["one", "two"]


def test_transactions_may_be_nested_and_the_outer_one_decides(db):
    with pytest.raises(ZeroDivisionError), db.transaction():
        with db.transaction():
            insert(db, "inner")
        _ = 1 / 0
    assert names(db) == []
    insert(db, "after")
    assert names(db) == ["after"]


def test_a_taken_key_is_an_integrity_error_and_leaves_the_transaction_usable(db):
    insert(db, "one")
    with db.transaction():
        with pytest.raises(sqlite3.IntegrityError):
            insert(db, "one")
        insert(db, "two")
    assert names(db) == ["one", "two"]


def test_what_was_committed_is_there_after_opening_again(tmp_path):
    first = Database(tmp_path / "state.db")
    insert(first, "kept")
    # Not closed: as after a SIGKILL, the WAL alone has it.
    second = Database(tmp_path / "state.db")
    assert names(second) == ["kept"]
    second.close()
    first.close()


def test_a_database_of_a_newer_version_is_refused_with_what_to_do(tmp_path):
    database = Database(tmp_path / "state.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(HostLimit, match=r"written by a newer Dosirak .* upgrade"):
        Database(tmp_path / "state.db")


def test_a_damaged_file_is_one_clear_error(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough" * 100)
    with pytest.raises(HostLimit, match=r"state database .*: file is not a database"):
        Database(tmp_path / "state.db")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dosirak-test", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_on_a_full_disk_there_is_room_to_record_what_is_removed(small_disk):
    db = Database(small_disk / "state.db")
    for number in range(50):
        db.execute("INSERT INTO containers (id, name, doc) VALUES (?, ?, ?)", (f"id{number}", f"n{number}", b"{}"))
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    for number in range(0, 50, 2):
        with db.transaction():
            db.execute("DELETE FROM containers WHERE id = ?", (f"id{number}",))
            db.execute("DELETE FROM leases WHERE owner = ?", (f"id{number}",))
        db.execute("DELETE FROM containers WHERE id = ?", (f"id{number + 1}",))
    assert db.execute("SELECT count(*) FROM containers").fetchone() == (0,)
    db.close()


def test_a_disk_that_is_full_beyond_the_reserve_is_one_clear_error(small_disk):
    db = Database(small_disk / "state.db")
    with pytest.raises(HostLimit, match="no space left on device"):
        db.execute("INSERT INTO containers (id, name, doc) VALUES ('a', 'a', ?)", (bytes(2 << 20),))
    with pytest.raises(HostLimit, match="no space left on device"), db.transaction():
        db.execute("INSERT INTO containers (id, name, doc) VALUES ('a', 'a', ?)", (bytes(2 << 20),))
    db.execute("INSERT INTO containers (id, name, doc) VALUES ('a', 'a', '{}')")
    assert db.execute("SELECT count(*) FROM containers").fetchone() == (1,)
    db.close()
