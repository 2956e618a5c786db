"""Loading archives: Docker's and OCI's, compressed or not; all of it, or one error and nothing."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import lzma
from collections.abc import AsyncIterator, Callable

import pytest
import zstandard

from dosirak.engine.content import media_types
from dosirak.engine.errors import HostLimit, InvalidRequest
from dosirak.engine.images import platforms
from support.tars import member, tar

from .conftest import (
    MANIFEST,
    Room,
    config,
    descriptor,
    digest,
    docker_archive,
    layer,
    oci_members,
    packed,
    stream,
)

BASE, TOP = layer("base", "shared"), layer("top", ".wh.shared")
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstandard.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("legacy", [False, True])
async def test_a_docker_archive_is_loaded(room: Room, compression: str, legacy: bool) -> None:
    data = docker_archive((["a:1", "ghcr.io/b/c:2"], [BASE, TOP]), legacy=legacy)
    lines = await room.load(COMPRESSIONS[compression](data), 5000)
    assert lines == ["Loaded image: a:1\n", "Loaded image: ghcr.io/b/c:2\n"]
    image = await room.images.resolve("a:1")
    assert image.id == digest(config([BASE, TOP]))
    assert image.names == ("docker.io/library/a:1", "ghcr.io/b/c:2")
    assert image.diff_ids == [digest(BASE), digest(TOP)]
    assert image.config.config.cmd == ["sh"]
    assert image.size == 3
    upper, lower = await room.images.lower_dirs(image)
    assert (room.layers.path(digest(TOP)), room.layers.path(digest(BASE))) == tuple(
        map(type(room.path), (upper, lower))
    )
    assert await room.again().images.resolve("a:1") == image


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_layers_may_be_compressed_themselves(room: Room, compression: str) -> None:
    await room.load(docker_archive((["a:1"], [BASE]), compress=COMPRESSIONS[compression]))
    image = await room.images.resolve("a:1")
    assert image.layers[0].media_type == f"{media_types.LAYER}+{compression}"
    assert room.store.path(image.layers[0].digest).read_bytes() == COMPRESSIONS[compression](BASE)
    assert image.diff_ids == [digest(BASE)]


async def test_an_oci_archive_keeps_its_manifest(room: Room) -> None:
    members = oci_members([BASE, TOP], "ghcr.io/x/y:3")
    assert await room.load(packed(members)) == ["Loaded image: ghcr.io/x/y:3\n"]
    image = await room.images.resolve("ghcr.io/x/y:3")
    assert f"blobs/sha256/{image.manifest.digest[7:]}" in members
    assert await room.images.resolve(f"ghcr.io/x/y@{image.manifest.digest}") == image


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"org.opencontainers.image.ref.name": "busybox"}, ["Loaded image: busybox:latest\n"]),
        (
            {"io.containerd.image.name": "docker.io/library/x:1", "org.opencontainers.image.ref.name": "1"},
            ["Loaded image: x:1\n"],
        ),
        ({"org.opencontainers.image.ref.name": "no name at all"}, None),
        ({}, None),
    ],
)
async def test_the_annotations_name_an_oci_image(room: Room, annotations: dict, expected: list[str] | None) -> None:
    members = oci_members([BASE])
    index = json.loads(members["index.json"])
    index["manifests"][0]["annotations"] = annotations
    members["index.json"] = json.dumps(index).encode()
    expected = expected or [f"Loaded image ID: {digest(config([BASE]))}\n"]
    assert await room.load(packed(members)) == expected


async def test_of_several_platforms_this_machine_s_comes_in(room: Room) -> None:
    mine, other = oci_members([BASE]), oci_members([TOP], architecture="mips")
    entries = []
    for members, architecture in ((other, "mips"), (mine, "amd64")):
        [entry] = json.loads(members["index.json"])["manifests"]
        entries.append(entry | {"platform": {"os": "linux", "architecture": architecture}})
    entries.append(descriptor(b"{}", MANIFEST, annotations={"vnd.docker.reference.type": "attestation-manifest"}))
    inner = json.dumps({"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": entries}).encode()
    outer = {"schemaVersion": 2, "manifests": [descriptor(inner, media_types.INDEX)]}
    members = other | mine | {"index.json": json.dumps(outer).encode(), f"blobs/sha256/{digest(inner)[7:]}": inner}
    assert await room.load(packed(members)) == [f"Loaded image ID: {digest(config([BASE]))}\n"]


def of_two_platforms(first: bytes, second: bytes) -> bytes:
    """An OCI archive whose one image is there for amd64 and for arm64."""
    members, entries = {}, []
    for data, architecture in ((first, "amd64"), (second, "arm64")):
        members |= (mine := oci_members([data], architecture=architecture))
        [entry] = json.loads(mine["index.json"])["manifests"]
        entries.append(entry | {"platform": {"os": "linux", "architecture": architecture}})
    inner = json.dumps({"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": entries}).encode()
    outer = {"schemaVersion": 2, "manifests": [descriptor(inner, media_types.INDEX)]}
    return packed(members | {"index.json": json.dumps(outer).encode(), f"blobs/sha256/{digest(inner)[7:]}": inner})


async def test_the_platform_that_is_asked_for_comes_in(room: Room) -> None:
    data = of_two_platforms(BASE, TOP)
    wanted = digest(config([TOP], architecture="arm64"))
    assert await room.load(data, platform=platforms.parse("linux/arm64")) == [f"Loaded image ID: {wanted}\n"]
    [image] = room.images.list()
    assert image.config.architecture == "arm64"
    with pytest.raises(InvalidRequest, match="no image for linux/s390x in the archive"):
        await room.load(data, platform=platforms.parse("linux/s390x"))


async def test_of_a_docker_archive_only_the_images_for_a_platform_come_in(room: Room) -> None:
    data = docker_archive((["a:1"], [BASE]), (["b:1"], [TOP]), architecture="arm", variant="v7")
    assert len(await room.load(data, platform=platforms.parse("linux/arm/v7"))) == 2
    with pytest.raises(InvalidRequest, match="no image for linux/arm/v6"):
        await room.load(data, platform=platforms.parse("linux/arm/v6"))


async def test_links_in_an_archive_are_names_of_members(room: Room) -> None:
    document = config([BASE, BASE])
    item = {"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["one/layer.tar", "two/layer.tar"]}
    data = tar(
        [
            member("one/layer.tar", "file", BASE),
            member("two/layer.tar", "symlink", "../one/layer.tar"),
            member("d.json", "file", document),
            member("c.json", "link", "d.json"),
            member("manifest.json", "file", json.dumps([item])),
        ]
    )
    assert await room.load(data) == ["Loaded image: a:1\n"]


async def test_two_images_share_their_layers(room: Room) -> None:
    lines = await room.load(docker_archive((["a:1"], [BASE]), (["b:1"], [BASE, TOP])))
    assert lines == ["Loaded image: a:1\n", "Loaded image: b:1\n"]
    assert sorted(room.layers.diff_ids()) == sorted([digest(BASE), digest(TOP)])


async def test_a_name_that_is_taken_is_not_taken_silently(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    old = (await room.images.resolve("a:1")).id
    lines = await room.load(docker_archive((["a:1"], [TOP])))
    assert lines == [
        f"The image a:1 already exists, renaming the old one with ID {old} to empty string\n",
        "Loaded image: a:1\n",
    ]
    assert (await room.images.resolve(old)).names == ()
    assert await room.load(docker_archive((["a:1"], [TOP]))) == ["Loaded image: a:1\n"]


async def test_loading_tells_the_events(room: Room) -> None:
    reader = room.events.subscribe()
    await room.load(docker_archive((["a:1"], [BASE])))
    event = await anext(reader)
    assert (event.type, event.action, event.id) == ("image", "load", digest(config([BASE])))


def damaged_oci(change: Callable[[dict[str, bytes]], None]) -> bytes:
    members = oci_members([BASE, TOP], "a:1")
    change(members)
    return packed(members)


def swap(members: dict[str, bytes], old: bytes, new: bytes) -> None:
    members[f"blobs/sha256/{digest(old)[7:]}"] = new


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no archive": b"hello" * 1000,
    "no manifest": tar([member("x", "file", "y")]),
    "a truncated archive": docker_archive((["a:1"], [BASE, TOP]))[:3000],
    "a truncated gzip": gzip.compress(docker_archive((["a:1"], [BASE])))[:-20],
    "a manifest of brackets": tar([member("manifest.json", "file", "[" * 200_000)]),
    "a manifest that is null": tar([member("manifest.json", "file", "null")]),
    "a layer that is missing": tar(
        [
            member("c", "file", config([BASE])),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": ["nowhere"]}])),
        ]
    ),
    "a layer that is another": tar(
        [
            member("c", "file", config([BASE])),
            member("l", "file", TOP),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": ["l"]}])),
        ]
    ),
    "a layer outside": tar(
        [
            member("c", "file", config([BASE])),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": ["../../../../etc/passwd"]}])),
        ]
    ),
    "a config that is a link to the host": tar(
        [
            member("c", "symlink", "/etc/passwd"),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": []}])),
        ]
    ),
    "links that go round": tar(
        [
            member("c", "symlink", "d"),
            member("d", "symlink", "c"),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": []}])),
        ]
    ),
    "fewer layers than diff ids": tar(
        [
            member("c", "file", config([BASE])),
            member("manifest.json", "file", json.dumps([{"Config": "c", "Layers": []}])),
        ]
    ),
    "a tag that is none": docker_archive((["../x"], [BASE])),
    "a tag with a digest": docker_archive(([f"a:1@{digest(b'')}"], [BASE])),
    "a tag that is none, in the second image": docker_archive((["a:1"], [BASE]), (["B:1"], [TOP])),
    "an image for another system": docker_archive((["a:1"], [BASE]), os="windows"),
    "a config that is none": docker_archive((["a:1"], [BASE]), config=[1, 2]),
    "an environment of numbers": docker_archive((["a:1"], [BASE]), config={"Env": [5]}),
    "a diff id that is a path": docker_archive(
        (["a:1"], [BASE]), rootfs={"type": "layers", "diff_ids": ["sha256:../../../../../../tmp/evil"]}
    ),
    "too many layers": docker_archive((["a:1"], [BASE] * 129)),
    "a layer with an escape": docker_archive((["a:1"], [layer("../../escape")])),
    "an oci layer that is another": damaged_oci(lambda members: swap(members, BASE, TOP)),
    "an oci layer that is missing": damaged_oci(lambda m: m.pop(f"blobs/sha256/{digest(BASE)[7:]}") and None),
    "an oci index of a million manifests": damaged_oci(
        lambda m: m.update({"index.json": json.dumps({"manifests": [descriptor(b"x", MANIFEST)] * 2000}).encode()})
    ),
    "an oci digest that is a path": damaged_oci(
        lambda m: m.update(
            {
                "index.json": json.dumps(
                    {"manifests": [{"mediaType": MANIFEST, "digest": "sha256:../x", "size": 1}]}
                ).encode()
            }
        )
    ),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_archive_is_one_clear_error_and_leaves_nothing(room: Room, kind: str) -> None:
    await room.load(docker_archive((["kept:1"], [layer("kept")])))
    before = room.files()
    with pytest.raises(InvalidRequest) as caught:
        await room.load(BAD[kind])
    assert caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    assert room.files() == before
    assert (await room.images.resolve("kept:1")).names == ("docker.io/library/kept:1",)


async def test_a_manifest_that_is_two_things_is_refused(room: Room) -> None:
    both = json.dumps(
        {"schemaVersion": 2, "config": descriptor(b"{}", "x"), "layers": [], "manifests": [descriptor(b"{}", MANIFEST)]}
    ).encode()
    index = {"schemaVersion": 2, "manifests": [descriptor(both, MANIFEST)]}
    with pytest.raises(InvalidRequest, match="both an image and an index"):
        await room.load(packed({"index.json": json.dumps(index).encode(), f"blobs/sha256/{digest(both)[7:]}": both}))


async def test_a_blob_that_only_claims_to_be_a_known_layer_is_found_out(room: Room) -> None:
    await room.load(docker_archive((["good:1"], [BASE])))
    forged = docker_archive((["bad:1"], [BASE]), compress=lambda data: gzip.compress(TOP))
    with pytest.raises(InvalidRequest, match="layer digest mismatch"):
        await room.load(forged)
    assert room.images.list() == [await room.images.resolve("good:1")]


async def test_what_the_store_has_already_is_not_taken_from_the_archive(room: Room) -> None:
    members = oci_members([BASE, TOP], "a:1")
    await room.load(packed(members))
    path = room.store.path(digest(BASE))
    before = path.stat().st_ino, path.read_bytes()
    members[f"blobs/sha256/{digest(BASE)[7:]}"] = b"x" * len(BASE)
    assert await room.load(packed(members)) == ["Loaded image: a:1\n"]
    assert (path.stat().st_ino, path.read_bytes()) == before
    assert path.stat().st_nlink == 1


async def test_a_failed_load_leaves_the_layers_of_others(room: Room) -> None:
    await room.load(docker_archive((["good:1"], [BASE])))
    with pytest.raises(InvalidRequest):
        await room.load(docker_archive((["bad:1"], [BASE, layer("../x")])))
    assert room.layers.has(digest(BASE))
    assert not room.store.has(digest(TOP))


async def test_a_client_that_goes_away_leaves_nothing(room: Room) -> None:
    before = room.files()
    data = docker_archive((["a:1"], [layer("big", content="x" * 3_000_000)]))

    async def broken() -> AsyncIterator[bytes]:
        async for piece in stream(data[:2_000_000]):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await anext(room.images.load(broken()))
    assert room.files() == before


async def test_a_cancelled_load_leaves_nothing(room: Room) -> None:
    before = room.files()
    data = docker_archive((["a:1"], [layer("big", content="x" * 3_000_000)]))
    for wait in (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06):
        task = asyncio.ensure_future(room.load(data))
        await asyncio.sleep(wait)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        # It may have been too late to cancel: then all of it is there.
        if room.images.list():
            assert len(await room.images.lower_dirs(await room.images.resolve("a:1"))) == 1
            await room.images.remove("a:1")
        assert [name for name in room.files() if name not in before] in ([], ["content/index.json"])


async def test_a_full_disk_leaves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    before = room.files()
    data = docker_archive((["a:1"], [BASE, layer("big", content="x" * 300_000)]))

    def full(*arguments: object) -> None:
        raise HostLimit("writing index.json: no space left on device")

    # The very last step fails: everything before it is there and must go.
    monkeypatch.setattr(room.index, "update", full)
    with pytest.raises(HostLimit, match="no space left"):
        await room.load(data)
    assert room.files() == before
    assert room.images.list() == []


async def test_loads_at_the_same_time_do_not_disturb_each_other(room: Room) -> None:
    archives = [docker_archive(([f"a:{n}"], [BASE, layer(f"own{n}")])) for n in range(4)]
    archives.append(docker_archive((["bad:1"], [BASE, layer("../x")])))
    outcomes = await asyncio.gather(*map(room.load, archives), return_exceptions=True)
    assert isinstance(outcomes.pop(), InvalidRequest)
    assert outcomes == [[f"Loaded image: a:{n}\n"] for n in range(4)]
    for image in room.images.list():
        assert all(room.layers.has(diff_id) for diff_id in image.diff_ids)
