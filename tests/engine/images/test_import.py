"""Importing a root filesystem's tar as an image."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable

import pytest
import zstandard

from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.images import RunConfig
from support.tars import member, tar

from .conftest import Room, digest, layer, stream

ROOT = tar([member("./", "dir", mode=0o755), member("./etc", "dir"), member("./etc/motd", "file", "hello")])


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, zstandard.compress, bz2.compress, lzma.compress],
    ids=["plain", "gzip", "zstd", "bzip2", "xz"],
)
async def test_a_tar_becomes_an_image_of_one_layer(room: Room, compress: Callable[[bytes], bytes]) -> None:
    reader = room.events.subscribe()
    made = await room.images.import_(stream(compress(ROOT), 1000), "me/root:1", message="by hand")
    assert made.names == ("docker.io/me/root:1",)
    # Stored uncompressed, whatever came in: the OCI formats have no xz.
    assert made.diff_ids == [digest(ROOT)] == [made.layers[0].digest]
    assert (made.config.comment, made.config.history[0].comment) == ("by hand", "by hand")
    assert made.config.created
    assert made.config.created.endswith("Z")
    [lower] = await room.images.lower_dirs(made)
    with open(os.path.join(lower, "etc/motd")) as file:
        assert file.read() == "hello"
    assert [(await anext(reader)).action for _ in range(2)] == ["tag", "import"]


async def test_without_a_name_it_is_dangling(room: Room) -> None:
    assert (await room.images.import_(stream(ROOT))).names == ()


async def test_changes_are_given_to_the_builder_s_function(room: Room) -> None:
    asked = []

    def apply(config: RunConfig, changes: object) -> RunConfig:
        asked.append((config, changes))
        return RunConfig(cmd=["sh"])

    room.images.apply_changes = apply
    made = await room.images.import_(stream(ROOT), "a:1", ["CMD sh"])
    assert asked == [(RunConfig(), ["CMD sh"])]
    assert made.config.config.cmd == ["sh"]


@pytest.mark.parametrize(
    ("data", "name", "changes", "error"),
    [
        (b"no tar" * 1000, "a:1", [], InvalidRequest),
        (ROOT[:700], "a:1", [], InvalidRequest),
        (gzip.compress(ROOT)[:-10], "a:1", [], InvalidRequest),
        (layer("../../x"), "a:1", [], InvalidRequest),
        (ROOT, "Bad", [], InvalidRequest),
        (ROOT, "a@sha256:" + "0" * 64, [], InvalidRequest),
        (ROOT, "a:1", ["CMD x"], NotSupported),
    ],
)
async def test_a_bad_import_leaves_nothing(room: Room, data: bytes, name: str, changes: list, error: type) -> None:
    before = room.files()
    with pytest.raises(error):
        await room.images.import_(stream(data, 100), name, changes)
    assert room.files() == before


async def test_a_failure_at_the_very_end_leaves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    before = room.files()

    def full(*arguments: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(room.index, "update", full)
    with pytest.raises(OSError, match="disk"):
        await room.images.import_(stream(ROOT), "a:1")
    # A config and a manifest that nobody names are left to the next start; the layer is not.
    left = [name for name in room.files() if name not in before]
    assert all(name.startswith("content/blobs/") for name in left)
    assert digest(ROOT)[7:] not in " ".join(left)
    await room.images.start()
    await room.layers.close()
    assert room.files() == before
