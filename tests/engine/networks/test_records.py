"""What is on record when: a removal waits a moment, and never longer than the next change."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.networks.model import Endpoint
from dosirak.engine.networks.records import Records
from dosirak.engine.state import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "state.db")
    yield made
    made.close()


@pytest.fixture
def records(db: Database) -> Records:
    return Records(db)


def endpoint(container: str, ip: str = "10.0.0.2") -> Endpoint:
    return Endpoint(
        id=f"e-{container}",
        sandbox_id=f"s-{container}",
        container=container,
        name=container,
        network_id="n",
        network="n",
        ip=ip,
    )


def kept(db: Database) -> list[str]:
    """Whose connections the next service would find, and whose leases."""
    return [
        *(str(row[0]) for row in db.execute("SELECT container FROM endpoints ORDER BY container")),
        *(f"lease of {row[0]}" for row in db.execute("SELECT owner FROM leases ORDER BY owner")),
    ]


async def eventually_empty(db: Database) -> None:
    async with asyncio.timeout(10):
        while kept(db):
            await asyncio.sleep(0.01)


async def test_a_removal_is_on_record_after_a_moment(records: Records, db: Database) -> None:
    records.add([endpoint("one")])
    records.remove([endpoint("one")])
    assert kept(db) == ["one", "lease of one"]
    await eventually_empty(db)


async def test_an_address_is_free_for_the_next_at_once(records: Records, db: Database) -> None:
    records.add([endpoint("one")])
    records.remove([endpoint("one")])
    records.add([endpoint("two")])
    assert kept(db) == ["two", "lease of two"]
    records.remove([endpoint("two")])
    records.add([endpoint("two")])
    records.settle()
    assert kept(db) == ["two", "lease of two"]


async def test_a_change_of_another_connection_takes_it_along(records: Records, db: Database) -> None:
    # As when a container that runs on leaves a network: a service that is killed then must not find it again.
    records.add([endpoint("one"), endpoint("two", "10.0.0.3")])
    records.remove([endpoint("one")])
    records.save([endpoint("two", "10.0.0.3")])
    assert kept(db) == ["two", "lease of two"]


async def test_what_could_not_be_removed_is_tried_again_with_the_next_removal(
    records: Records, db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records.add([endpoint("one"), endpoint("two", "10.0.0.3")])
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    db.execute("PRAGMA busy_timeout = 10")
    other.execute("BEGIN IMMEDIATE")
    records.remove([endpoint("one")])
    async with asyncio.timeout(10):
        while "stay on record" not in caplog.text:
            await asyncio.sleep(0.01)
    other.execute("COMMIT")
    other.close()
    assert kept(db) == ["one", "two", "lease of one", "lease of two"]
    records.remove([endpoint("two", "10.0.0.3")])
    await eventually_empty(db)
