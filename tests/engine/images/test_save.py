"""Saving: an archive that we, docker's format, skopeo and a second engine read."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dosirak.engine.errors import NotFound

from .conftest import Room, digest, docker_archive, layer

BASE, TOP = layer("base"), layer("top")


async def save(room: Room, *names: str) -> bytes:
    return b"".join([piece async for piece in room.images.save(names)])


def contents(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive if info.isfile()}  # type: ignore[union-attr]


def tags(data: bytes) -> list[list[str] | None]:
    return [item["RepoTags"] for item in json.loads(contents(data)["manifest.json"])]


@pytest.fixture
async def full(room: Room) -> Room:
    await room.load(docker_archive((["a:1", "a:2", "b:1"], [BASE, TOP])))
    await room.load(docker_archive((["c:latest"], [BASE]), compress=gzip.compress, author="me"))
    return room


async def test_an_image_s_config_bears_the_time_the_image_was_made(room: Room) -> None:
    for name, created in (("a:1", "2001-02-03T04:05:06.7Z"), ("b:1", "1960-01-01T00:00:00Z"), ("c:1", "yesterday")):
        await room.load(docker_archive(([name], [BASE]), created=created))
    data = await save(room, "a:1", "b:1", "c:1")
    configs = {json.loads(item)["created"]: path for path, item in contents(data).items() if b'"created"' in item}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {created: archive.getmember(path).mtime for created, path in configs.items()}
    assert found == {"2001-02-03T04:05:06.7Z": 981173106, "1960-01-01T00:00:00Z": 0, "yesterday": 0}


async def test_what_is_saved_is_loaded_as_it_was(full: Room, tmp_path: Path) -> None:
    before = full.images.list()
    data = await save(full, "a:1", "b:1", "c")
    other = Room(tmp_path / "other")
    lines = await other.load(data)
    assert lines == ["Loaded image: a:1\n", "Loaded image: b:1\n", "Loaded image: c:latest\n"]
    assert {image.id for image in other.images.list()} == {image.id for image in before}
    # By Docker's part of it the manifests were made anew; by OCI's part they are the very same.
    oci = contents(data)
    index = json.loads(oci["index.json"])
    assert {entry["digest"] for entry in index["manifests"]} == {image.manifest.digest for image in before}
    for name, blob in oci.items():
        if name.startswith("blobs/"):
            assert digest(blob)[7:] == name.rpartition("/")[2]
    del oci["manifest.json"]
    third = Room(tmp_path / "third")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, blob in oci.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            archive.addfile(info, io.BytesIO(blob))
    assert await third.load(buffer.getvalue()) == lines
    assert {image.manifest.digest for image in third.images.list()} == {image.manifest.digest for image in before}


async def test_a_name_without_tag_means_all_its_tags(full: Room) -> None:
    assert tags(await save(full, "a")) == [["a:1", "a:2"]]
    await full.images.tag("c", "a:3")
    assert sorted(tags(await save(full, "a"))) == [["a:1", "a:2"], ["a:3"]]
    assert tags(await save(full, "a:2")) == [["a:2"]]
    assert tags(await save(full, "a:2", "b:1")) == [["a:2", "b:1"]]
    assert tags(await save(full, "a:1", "c")) == [["a:1"], ["c:latest"]]


async def test_an_id_means_no_name(full: Room) -> None:
    image = await full.images.resolve("a:1")
    for name in (image.id, image.short_id):
        assert tags(await save(full, name)) == [None]


async def test_what_is_not_there_is_told_before_anything_is_sent(full: Room) -> None:
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        await anext(full.images.save(["a:1", "nothing"]))


async def test_a_reader_that_leaves_early_leaves_nothing_open(full: Room) -> None:
    saving = full.images.save(["a:1"])
    await anext(saving)
    await saving.aclose()
    await full.images.remove((await full.images.resolve("a:1")).id, force=True)
    assert not full.layers.has(digest(TOP))


async def test_an_image_that_is_removed_meanwhile_is_still_saved_whole(full: Room) -> None:
    big = layer("big", content="x" * 5_000_000)
    await full.load(docker_archive((["big:1"], [big])))
    saving = full.images.save(["big:1"])
    data = await anext(saving)
    await full.images.remove("big:1")
    data += b"".join([piece async for piece in saving])
    assert digest(contents(data)[f"blobs/sha256/{digest(big)[7:]}"]) == digest(big)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (Debian: apt install skopeo)")
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
async def test_skopeo_reads_it_in_both_formats(full: Room, tmp_path: Path, transport: str) -> None:
    file = tmp_path / "saved.tar"
    file.write_bytes(await save(full, "a:1"))
    command: Sequence[object] = ["skopeo", "copy", "-q", f"{transport}:{file}", f"dir:{tmp_path / 'copied'}"]
    subprocess.run(command, check=True)  # type: ignore[call-overload]
    manifest = json.loads((tmp_path / "copied/manifest.json").read_text())
    assert [entry["digest"] for entry in manifest["layers"]] == [digest(BASE), digest(TOP)]
    assert manifest["config"]["digest"] == (await full.images.resolve("a:1")).id
