"""The room's door: resolve, list, commit, tag, lower directories, history, what survives a restart."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dosirak.engine.content import Descriptor, media_types
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.images import History, ImageConfig, RunConfig
from dosirak.engine.layers import LayerInfo
from dosirak.engine.runtime.overlay import open_overlay

from .conftest import Room, config, digest, docker_archive, layer, oci_members

BASE, TOP = layer("base"), layer("top")

needs_skopeo = pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="skopeo is not installed (Debian: apt install skopeo)"
)


def document(**fields: object) -> ImageConfig:
    return ImageConfig(architecture="amd64", os="linux", created="2024-05-06T07:08:09Z", **fields)  # type: ignore[arg-type]


async def adopt(room: Room, name: str) -> LayerInfo:
    directory = room.path / f"upper-{name}"
    directory.mkdir()
    (directory / name).write_text(name)
    return await room.layers.adopt(directory).diff()


async def test_an_image_is_made_of_a_config_and_its_layers(room: Room) -> None:
    layers = [await adopt(room, "one"), await adopt(room, "two")]
    made = await room.images.commit(document(config=RunConfig(cmd=["x"], env=["A=1"])), layers, ["a/b:1", "c"])
    assert made.names == ("docker.io/a/b:1", "docker.io/library/c:latest")
    assert made.diff_ids == [info.diff_id for info in layers]
    assert made.created == "2024-05-06T07:08:09Z"
    assert (made.config.config.cmd, made.config.config.env) == (["x"], ["A=1"])
    assert made.size == 6
    stored = json.loads(room.store.read(made.id, 10_000))
    assert stored["rootfs"] == {"type": "layers", "diff_ids": made.diff_ids}
    assert (stored["architecture"], stored["os"]) == ("amd64", "linux")
    assert await room.images.layer_infos(made) == layers
    assert await room.again().images.resolve("c") == made


async def test_an_image_without_layers_is_one_too(room: Room) -> None:
    made = await room.images.commit(document(), [], ["empty"])
    assert (made.size, made.layers, await room.images.lower_dirs(made)) == (0, (), [])


async def test_making_the_same_image_twice_makes_one(room: Room) -> None:
    info = await adopt(room, "one")
    first = await room.images.commit(document(), [info], ["a:1"])
    second = await room.images.commit(document(), [info], ["a:2"])
    assert first.id == second.id
    assert [image.names for image in room.images.list()] == [("docker.io/library/a:1", "docker.io/library/a:2")]


async def test_a_commit_on_a_layer_that_is_gone_says_so(room: Room) -> None:
    gone = LayerInfo(digest(BASE), Descriptor(media_types.LAYER, digest(BASE), 5), 1)
    with pytest.raises(NotFound, match="is gone"):
        await room.images.commit(document(), [gone], ["a:1"])
    assert room.images.list() == []


async def test_more_layers_than_overlayfs_takes_are_refused(room: Room) -> None:
    info = await adopt(room, "one")
    with pytest.raises(InvalidRequest, match="max depth exceeded"):
        await room.images.commit(document(), [info] * 129)


async def test_every_way_to_name_an_image_finds_it(room: Room) -> None:
    await room.load(docker_archive((["ghcr.io/a/b:1", "x:latest"], [BASE])))
    [image] = room.images.list()
    id = image.id
    for name in ("x", "x:latest", "docker.io/library/x", "ghcr.io/a/b:1", id, id[7:], id[7:19], id[:12], id[7:8]):
        assert await room.images.resolve(name) == image, name
    assert await room.images.resolve(f"x@{image.manifest.digest}") == image


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nothing", NotFound, "No such image: nothing:latest"),
        ("nothing:1", NotFound, "No such image: nothing:1"),
        ("docker.io/library/nothing", NotFound, "No such image: nothing:latest"),
        ("a.b/c@sha256:" + "0" * 64, NotFound, "No such image: a.b/c@sha256:" + "0" * 64),
        ("sha256:" + "0" * 64, NotFound, "No such image: sha256:" + "0" * 64),
        ("Up", InvalidRequest, "invalid reference format: repository name (library/Up) must be lowercase"),
        ("../x", InvalidRequest, "invalid reference format"),
    ],
)
async def test_what_is_not_there_is_named_in_docker_s_words(room: Room, name: str, error: type, message: str) -> None:
    with pytest.raises(error) as caught:
        await room.images.resolve(name)
    assert str(caught.value) == message


async def test_the_beginning_of_two_ids_is_ambiguous(room: Room) -> None:
    number = 0
    while len({image.id[7] for image in room.images.list()}) == len(room.images.list()):
        await room.images.commit(document(author=str(number)), [])
        number += 1
    first = [image.id[7] for image in room.images.list()]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidRequest, match=f"^Multiple IDs found with provided prefix: {twice}$"):
        await room.images.resolve(twice)


async def test_a_name_wins_over_the_beginning_of_an_id(room: Room) -> None:
    other = await room.images.commit(document(author="other"), [])
    named = await room.images.commit(document(author="named"), [], [other.id[7:15]])
    assert await room.images.resolve(other.id[7:15]) == named
    assert (await room.images.resolve(other.id[7:16])).id == other.id


async def test_tagging_moves_a_name_and_tells(room: Room) -> None:
    one = await room.images.commit(document(author="one"), [], ["a:1"])
    two = await room.images.commit(document(author="two"), [], ["b:1"])
    reader = room.events.subscribe()
    await room.images.tag("b:1", "a:1")
    assert (await room.images.resolve("a:1")).id == two.id
    assert (await room.images.resolve(one.id)).names == ()
    event = await anext(reader)
    assert (event.action, event.id, event.attributes) == ("tag", two.id, {"name": "a:1"})
    with pytest.raises(InvalidRequest, match="refusing to create a tag with a digest reference"):
        await room.images.tag("b:1", f"x@{one.id}")
    with pytest.raises(NotFound):
        await room.images.tag("nothing", "x")


async def test_lower_directories_are_the_topmost_first_and_made_when_missing(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE, TOP]), compress=gzip.compress))
    image = await room.images.resolve("a:1")
    await room.layers.remove(digest(BASE))
    again = room.again()
    image = await again.images.resolve("a:1")
    lowers = await again.images.lower_dirs(image)
    assert [sorted(os.listdir(path)) for path in lowers] == [["top"], ["base"]]
    fd = open_overlay(lowers)
    try:
        assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == ["base", "top"]
    finally:
        os.close(fd)
    assert (await again.images.resolve("a:1")).size == 2


async def test_history_is_the_newest_first_with_the_sizes_of_layers(room: Room) -> None:
    one, two = await adopt(room, "one"), await adopt(room, "twotwo")
    steps = [
        History(created="2024-01-01T00:00:00Z", created_by="FROM", comment="first"),
        History(created="2024-01-02T00:00:00Z", created_by="ENV", empty_layer=True),
        History(created_by="RUN"),
    ]
    image = await room.images.commit(document(history=steps), [one, two], ["a:1"])
    found = room.images.history(image)
    assert [(item.created_by, item.size, item.id) for item in found] == [
        ("RUN", 6, image.id),
        ("ENV", 0, "<missing>"),
        ("FROM", 3, "<missing>"),
    ]
    assert found[0].tags == ("docker.io/library/a:1",)
    assert (found[0].created, found[2].created, found[2].comment) == ("", "2024-01-01T00:00:00Z", "first")
    assert room.images.history(await room.images.commit(document(), [one])) == []


async def test_the_next_service_sweeps_and_keeps_what_is_needed(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    before = room.files()
    kept, lost = await adopt(room, "kept"), await adopt(room, "lost")
    (room.path / "content/tmp/half").write_text("x")
    (room.path / "layers/tmp/half").mkdir()
    again = room.again()
    again.images.keepers.append(lambda: [kept.diff_id, kept.descriptor.digest])
    await again.images.start()
    assert again.layers.has(kept.diff_id)
    assert again.store.has(kept.descriptor.digest)
    assert not again.layers.has(lost.diff_id)
    assert not again.store.has(lost.descriptor.digest)
    last = room.again()
    await last.images.start()
    await again.layers.close()
    await last.layers.close()
    assert last.files() == before


async def test_an_image_that_can_t_be_read_is_left_out_and_nothing_is_collected(room: Room) -> None:
    await room.load(docker_archive((["good:1"], [BASE]), (["bad:1"], [TOP])))
    bad = await room.images.resolve("bad:1")
    lost = await adopt(room, "lost")
    room.store.path(bad.id).write_bytes(b"damaged")
    again = room.again()
    await again.images.start()
    assert [image.names for image in again.images.list()] == [("docker.io/library/good:1",)]
    with pytest.raises(NotFound, match="No such image: bad:1"):
        await again.images.resolve("bad:1")
    assert again.layers.has(lost.diff_id)


async def test_held_digests_stay_while_they_are_held(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    image = await room.images.resolve("a:1")
    with room.images.hold(image.diff_ids):
        await room.images.remove("a:1")
        assert room.layers.has(digest(BASE))
    assert digest(BASE) in await room.images.collect()


async def test_resolving_a_known_name_takes_no_time(room: Room) -> None:
    await room.load(docker_archive(*[([f"a:{number}"], [BASE, layer(f"f{number}")]) for number in range(30)]))
    await room.images.lower_dirs(await room.images.resolve("a:7"))
    loop = asyncio.get_running_loop()
    best = 1.0
    for _ in range(50):
        begun = loop.time()
        await room.images.lower_dirs(await room.images.resolve("a:7"))
        best = min(best, loop.time() - begun)
    assert best < 0.0003


@needs_skopeo
async def test_skopeo_reads_the_store_as_it_lies(room: Room, tmp_path: Path) -> None:
    await room.load(docker_archive((["a:1"], [BASE, TOP])))
    info = await adopt(room, "built")
    await room.images.commit(document(config=RunConfig(labels={"x": "y"})), [info], ["built:1"])
    for name, layers in (("docker.io/library/a:1", 2), ("docker.io/library/built:1", 1)):
        asked = ["skopeo", "inspect", f"oci:{room.store.root}:{name}"]
        seen = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
        assert len(seen["Layers"]) == layers
    # It verifies every digest on the way.
    copied = tmp_path / "copied"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{room.store.root}:docker.io/library/built:1", f"dir:{copied}"], check=True
    )
    assert json.loads((copied / "manifest.json").read_text())["layers"][0]["digest"] == info.descriptor.digest


@needs_skopeo
async def test_what_skopeo_copies_into_the_store_is_an_image(room: Room, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name, data in oci_members([BASE], "x").items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    subprocess.run(["skopeo", "copy", "-q", f"oci:{source}:x", f"oci:{room.store.root}:quay.io/x:9"], check=True)
    image = await room.images.resolve("quay.io/x:9")
    assert image.id == digest(config([BASE]))
    [lower] = await room.images.lower_dirs(image)
    assert os.listdir(lower) == ["base"]
