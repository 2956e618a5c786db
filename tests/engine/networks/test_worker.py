"""The network thread's queue."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dosirak.engine.networks.worker import Kernel, Worker
from support.wires import Namespace


async def test_jobs_run_in_order_on_one_thread_of_their_own(host: Namespace) -> None:
    worker, seen = Worker("t"), []
    for number in range(20):
        worker.submit(lambda kernel, n: seen.append((n, threading.current_thread().name)), number)
    await worker.submit(lambda kernel: None)
    assert seen == [(number, "dosirak-networks") for number in range(20)]
    await worker.stop()


async def test_what_a_job_raises_reaches_the_one_who_asked(host: Namespace) -> None:
    worker = Worker("t")

    def fail(kernel: Kernel) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await worker.submit(fail)
    assert await worker.submit(lambda kernel: 7) == 7
    await worker.stop()


async def test_a_job_whose_asker_has_gone_runs_all_the_same(host: Namespace) -> None:
    worker, ran = Worker("t"), []
    worker.submit(lambda kernel: ran.append(1)).cancel()
    await worker.submit(lambda kernel: None)
    assert ran == [1]
    await worker.stop()


async def test_a_thread_that_cannot_begin_fails_every_job(host: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kernel: Kernel, table: str) -> None:
        raise PermissionError("no netlink here")

    monkeypatch.setattr(Kernel, "__init__", refuse)
    worker = Worker("t")
    for _ in range(2):
        with pytest.raises(PermissionError, match="no netlink here"):
            await worker.submit(lambda kernel: None)
    await asyncio.wait_for(worker.stop(), 1)


async def test_it_can_begin_again_after_its_end(host: Namespace) -> None:
    worker = Worker("t")
    await worker.stop()
    for _ in range(2):
        assert await worker.submit(lambda kernel: 1) == 1
        await worker.stop()
