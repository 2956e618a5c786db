"""The pool of prepared namespaces, with descriptors of nothing in particular."""

from __future__ import annotations

import asyncio

import pytest

from dosirak.engine.networks import pool as pool_module
from dosirak.engine.networks.namespaces import Prepared
from dosirak.engine.networks.pool import Pool


class Maker:
    """Makes numbered things, when told to or at once."""

    def __init__(self, at_once: bool = False) -> None:
        self.begun: list[asyncio.Future[Prepared]] = []
        self._at_once = at_once

    def __call__(self) -> asyncio.Future[Prepared]:
        self.begun.append(asyncio.get_running_loop().create_future())
        if self._at_once:
            self.finish(-1)
        return self.begun[-1]

    def finish(self, number: int) -> None:
        self.begun[number].set_result(Prepared(number % len(self.begun)))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REFILL_DELAY", 0.0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0.001)


async def test_nothing_is_made_before_the_first_is_taken() -> None:
    make = Maker()
    pool = Pool(make)
    await settle()
    assert make.begun == [] and await pool.drain() == []


async def test_it_fills_up_to_its_size_and_no_further() -> None:
    make = Maker(at_once=True)
    pool = Pool(make, size=2)
    assert (await pool.take()).fd == 0
    await settle()
    assert len(make.begun) == 3
    assert (await pool.take()).fd == 1
    await settle()
    assert [prepared.fd for prepared in await pool.drain()] == [2, 3]


async def test_it_makes_one_after_another() -> None:
    make = Maker()
    pool = Pool(make, size=3)
    first = asyncio.create_task(pool.take())
    await settle()
    make.finish(0)
    await first
    for number in (1, 2, 3):
        await settle()
        assert len(make.begun) == number + 1
        make.finish(number)
    assert len(await pool.drain()) == 3


async def test_what_is_made_for_one_who_gave_up_goes_to_the_next() -> None:
    make = Maker()
    pool = Pool(make, size=0)
    one, other = asyncio.create_task(pool.take()), asyncio.create_task(pool.take())
    await settle()
    assert len(make.begun) == 2
    one.cancel()
    make.finish(0)
    assert (await other).fd == 0
    make.finish(1)
    assert [prepared.fd for prepared in await pool.drain()] == [1]


async def test_one_handed_over_in_the_moment_of_giving_up_is_kept() -> None:
    make = Maker()
    pool = Pool(make, size=0)
    task = asyncio.create_task(pool.take())
    await settle()
    make.finish(0)
    await asyncio.sleep(0)  # handed to the task, which has not run yet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    drained = await pool.drain()
    assert task.cancelled() == ([prepared.fd for prepared in drained] == [0])


async def test_a_failure_reaches_the_one_who_waits() -> None:
    make = Maker()
    pool = Pool(make, size=1)
    task = asyncio.create_task(pool.take())
    await settle()
    make.begun[0].set_exception(OSError("no more"))
    with pytest.raises(OSError, match="no more"):
        await task
    await pool.drain()


async def test_draining_waits_for_what_is_being_made() -> None:
    make = Maker()
    pool = Pool(make, size=1)
    task = asyncio.create_task(pool.take())
    await settle()
    make.finish(0)
    await task
    await settle()
    drain = asyncio.create_task(pool.drain())
    await settle()
    assert not drain.done()
    make.finish(1)
    assert [prepared.fd for prepared in await drain] == [1]
