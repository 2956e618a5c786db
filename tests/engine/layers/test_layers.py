"""Layers on disk: unpacked once, adopted by rename, swept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zstandard

from dosirak.engine.content import Store, media_types
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.layers import Layers
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.runtime.overlay import open_overlay
from support.tars import files, member, tar

LAYER = files(hello="world", other="x" * 100)
DIFF_ID = "sha256:" + hashlib.sha256(LAYER).hexdigest()


@pytest.fixture
async def layers(tmp_path: Path) -> AsyncIterator[Layers]:
    made = Layers(tmp_path / "layers", Store(tmp_path / "content"))
    yield made
    await made.close()
    assert os.listdir(made.root / "tmp") == []
    assert os.listdir(made.root / "pending") == []


@pytest.fixture
def store(layers: Layers, tmp_path: Path) -> Store:
    return Store(tmp_path / "content")


def upper(tmp_path: Path, **content: str) -> Path:
    made = tmp_path / f"upper-{len(os.listdir(tmp_path))}"
    made.mkdir()
    for name, text in content.items():
        (made / name).write_text(text)
        os.utime(made / name, (1, 1))
    os.utime(made, (1, 1))
    return made


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
async def test_a_layer_is_unpacked_under_the_digest_of_its_tar(layers: Layers, compress: type[bytes]) -> None:
    made = await layers.unpack(io.BytesIO(compress(LAYER)))
    assert (made.diff_id, made.size) == (DIFF_ID, 105)
    assert layers.has(DIFF_ID)
    assert layers.size(DIFF_ID) == 105
    assert (layers.path(DIFF_ID) / "hello").read_text() == "world"
    assert [*layers.diff_ids()] == [DIFF_ID]


async def test_a_layer_that_is_not_the_one_promised_leaves_nothing(layers: Layers) -> None:
    with pytest.raises(CorruptArchive, match="layer digest mismatch: expected diff ID sha256:0000"):
        await layers.unpack(io.BytesIO(LAYER), "sha256:" + "0" * 64)
    assert [*layers.diff_ids()] == []


@pytest.mark.parametrize(
    "data", [LAYER[:600], gzip.compress(LAYER)[:-9], b"no tar" * 200, tar([member("../x")]), LAYER + bytes(70 << 20)]
)
async def test_a_bad_layer_leaves_nothing(layers: Layers, data: bytes) -> None:
    with pytest.raises(CorruptArchive):
        await layers.unpack(io.BytesIO(data))
    assert sorted(os.listdir(layers.root)) == ["pending", "tmp"]


async def test_padding_after_the_archive_counts_for_the_digest(layers: Layers) -> None:
    padded = LAYER + bytes(10240)
    assert (await layers.unpack(io.BytesIO(padded))).diff_id == "sha256:" + hashlib.sha256(padded).hexdigest()


async def test_the_same_layer_twice_at_once_is_there_once(layers: Layers) -> None:
    await asyncio.gather(*(layers.unpack(io.BytesIO(LAYER)) for _ in range(4)))
    assert [*layers.diff_ids()] == [DIFF_ID]


async def test_ensure_unpacks_from_the_store_once(layers: Layers, store: Store) -> None:
    blob = store.put(gzip.compress(LAYER), media_types.LAYER_GZIP)
    await asyncio.gather(*(layers.ensure(DIFF_ID, blob) for _ in range(5)))
    inode = layers.path(DIFF_ID).stat().st_ino
    await layers.ensure(DIFF_ID, blob)
    assert layers.path(DIFF_ID).stat().st_ino == inode
    store.delete(blob.digest)
    await layers.remove(DIFF_ID)
    with pytest.raises(NotFound):
        await layers.ensure(DIFF_ID, blob)


async def test_an_adopted_directory_is_usable_at_once_and_moves_to_its_place(
    layers: Layers, store: Store, tmp_path: Path
) -> None:
    directory = upper(tmp_path, f="content")
    inode = directory.stat().st_ino
    pending = layers.adopt(directory)
    assert not directory.exists()
    assert (pending.path / "f").read_text() == "content"
    info = await pending.diff()
    assert info.size == 7
    assert layers.path(info.diff_id).stat().st_ino == inode
    assert layers.size(info.diff_id) == 7
    assert store.size(info.descriptor.digest) == info.descriptor.size
    # The old path still leads there, also for a mount made only now.
    assert (pending.path / "f").read_text() == "content"
    fd = open_overlay([os.fspath(pending.path), os.fspath(upper(tmp_path))])
    assert os.listdir(f"/proc/self/fd/{fd}") == ["f"]
    os.close(fd)
    # And what it unpacks to is what it was.
    await layers.remove(info.diff_id)
    await layers.ensure(info.diff_id, info.descriptor)
    assert (layers.path(info.diff_id) / "f").read_text() == "content"


async def test_equal_directories_become_one_layer_and_both_paths_stay(layers: Layers, tmp_path: Path) -> None:
    one, two = (layers.adopt(upper(tmp_path, f="same")) for _ in range(2))
    infos = [await pending.diff() for pending in (one, two)]
    assert infos[0] == infos[1]
    assert [*layers.diff_ids()] == [infos[0].diff_id]
    assert [(pending.path / "f").read_text() for pending in (one, two)] == ["same", "same"]


async def test_cancelling_the_wait_does_not_cancel_the_work(layers: Layers, tmp_path: Path) -> None:
    pending = layers.adopt(upper(tmp_path, f="x"))
    waiting = asyncio.ensure_future(pending.diff())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert layers.has((await pending.diff()).diff_id)


async def test_close_waits_for_layers_nobody_asked_about(layers: Layers, tmp_path: Path) -> None:
    layers.adopt(upper(tmp_path, f="x"))
    await layers.close()
    [diff_id] = layers.diff_ids()
    assert (layers.path(diff_id) / "f").read_text() == "x"


async def test_pack_leaves_the_directory_where_it_is(layers: Layers, store: Store, tmp_path: Path) -> None:
    directory = upper(tmp_path, f="x")
    info = await layers.pack(directory)
    assert (directory / "f").read_text() == "x"
    assert store.has(info.descriptor.digest)
    assert not layers.has(info.diff_id)


async def test_removal_is_at_once_and_whole(layers: Layers) -> None:
    await layers.unpack(io.BytesIO(LAYER))
    await layers.remove(DIFF_ID)
    await layers.remove(DIFF_ID)
    assert not layers.has(DIFF_ID)
    with pytest.raises(NotFound):
        layers.size(DIFF_ID)


async def test_collect_keeps_what_is_reachable(layers: Layers) -> None:
    kept = await layers.unpack(io.BytesIO(LAYER))
    lost = await layers.unpack(io.BytesIO(files(a="b")))
    assert layers.collect({kept.diff_id}) == [lost.diff_id]
    assert [*layers.diff_ids()] == [kept.diff_id]


async def test_sweep_removes_what_a_killed_service_or_a_power_failure_left(layers: Layers) -> None:
    await layers.unpack(io.BytesIO(LAYER))
    (layers.root / "tmp" / "half" / "diff").mkdir(parents=True)
    (layers.root / "pending" / "half" / "diff").mkdir(parents=True)
    (layers.root / "pending" / "done").symlink_to(Path("..") / DIFF_ID[7:])
    (layers.root / ("0" * 64)).symlink_to(Path("..") / ("0" * 64))
    half = "sha256:" + "1" * 64
    layers.path(half).mkdir(parents=True)
    (layers.path(half).parent / "layer.json").write_text("")
    layers.sweep()
    assert not layers.has(half)
    await layers.close()
    assert sorted(os.listdir(layers.root)) == sorted(["pending", "tmp", DIFF_ID[7:]])
    assert (layers.path(DIFF_ID) / "hello").read_text() == "world"


async def test_a_diff_id_never_is_a_path(layers: Layers) -> None:
    for text in ("sha256:../../../etc", "../x", "", "sha256:" + "0" * 63):
        with pytest.raises(InvalidRequest, match="invalid digest"):
            layers.path(text)


async def test_the_layers_are_closed_to_other_users(layers: Layers) -> None:
    assert stat.S_IMODE(layers.root.stat().st_mode) == 0o700
