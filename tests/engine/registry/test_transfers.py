"""Layers that several pulls want."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from dosirak.engine.content import Descriptor, Store
from dosirak.engine.layers import Layers
from dosirak.engine.registry.transfers import Transfers
from support.registries import digest


async def test_a_transfer_that_everybody_left_has_nothing_to_do_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "content")
    transfers, blob = Transfers(store, Layers(tmp_path / "layers", store)), Descriptor("", digest(b"x"), 1)
    begun: list[asyncio.Event] = []

    async def work(*_: object) -> None:
        begun.append(asyncio.Event())
        own = begun[-1]
        try:
            await own.wait()
        finally:
            await own.wait()

    async def pull() -> None:
        await transfers.bring((), blob, digest(b"y"), False, lambda _: None)

    monkeypatch.setattr(transfers, "_bring", work)
    first = asyncio.ensure_future(pull())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    second = asyncio.ensure_future(pull())
    await asyncio.sleep(0.01)
    begun[0].set()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    third = asyncio.ensure_future(pull())
    await asyncio.sleep(0.01)
    assert len(begun) == 2, "the third pull waits for what the second has begun"
    begun[1].set()
    await asyncio.gather(second, third)
