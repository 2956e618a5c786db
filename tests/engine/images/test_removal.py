"""Removing images: Docker's rules, and what goes from the disk."""

from __future__ import annotations

import asyncio

import pytest

from dosirak.engine.content import Descriptor
from dosirak.engine.errors import Conflict, NotFound
from dosirak.engine.images import Image, ImageConfig, Removed, Usage
from dosirak.engine.images.removal import Plan, chain_ids, plan

from .conftest import Room, digest, docker_archive, layer

BASE, TOP, OTHER = layer("base"), layer("top"), layer("other")
ID = "sha256:" + "ab" * 32
SHORT = "ab" * 6
DIGEST = "sha256:" + "0" * 64
A, B, A2 = "docker.io/library/a:1", "docker.io/library/b:1", "docker.io/library/a:2"
BY_DIGEST = f"docker.io/library/a@{DIGEST}"
STOPPED, RUNNING = Usage("c" * 64, running=False), Usage("d" * 64, running=True)


def image(*names: str) -> Image:
    config = ImageConfig(architecture="amd64", os="linux")
    return Image(ID, Descriptor("", DIGEST, 1), config, (), names, "", 0)


PLANS = [
    # names, asked, usage, force → what goes
    ((A,), "a:1", (), False, Plan((A,), delete=True)),
    ((A, B), "a:1", (), False, Plan((A,), delete=False)),
    ((A, B), "a:1", (RUNNING,), False, Plan((A,), delete=False)),
    ((A,), "a:1", (STOPPED,), True, Plan((A,), delete=True)),
    ((A,), "a:1", (RUNNING,), True, Plan((A,), delete=False)),
    ((A, BY_DIGEST), "a:1", (), False, Plan((A, BY_DIGEST), delete=True)),
    ((A, A2, BY_DIGEST), "a:1", (), False, Plan((A,), delete=False)),
    ((A, BY_DIGEST), f"a@{DIGEST}", (), False, Plan((BY_DIGEST,), delete=False)),
    ((), SHORT, (), False, Plan((), delete=True)),
    ((A,), SHORT, (), False, Plan((A,), delete=True)),
    ((A,), ID, (), False, Plan((A,), delete=True)),
    ((A, BY_DIGEST), SHORT, (), False, Plan((A, BY_DIGEST), delete=True)),
    ((A, B), SHORT, (), True, Plan((A, B), delete=True)),
    ((A, B), SHORT, (STOPPED,), True, Plan((A, B), delete=True)),
]


@pytest.mark.parametrize(("names", "asked", "usage", "force", "expected"), PLANS)
def test_what_goes(names: tuple[str, ...], asked: str, usage: tuple, force: bool, expected: Plan) -> None:
    assert plan(image(*names), asked, usage, force=force) == expected


CONFLICTS = [
    (
        (A,),
        "a:1",
        (STOPPED,),
        False,
        'unable to remove repository reference "a:1" (must force) - '
        f"container cccccccccccc is using its referenced image {SHORT}",
    ),
    (
        (A,),
        "a:1",
        (RUNNING,),
        False,
        'unable to remove repository reference "a:1" (must force) - '
        f"container dddddddddddd is using its referenced image {SHORT}",
    ),
    (
        (A, B),
        SHORT,
        (),
        False,
        f"unable to delete {SHORT} (must be forced) - image is referenced in multiple repositories",
    ),
    (
        (A, A2),
        SHORT,
        (),
        False,
        f"unable to delete {SHORT} (must be forced) - image is referenced in multiple repositories",
    ),
    (
        (A,),
        SHORT,
        (STOPPED,),
        False,
        f"unable to delete {SHORT} (must be forced) - image is being used by stopped container cccccccccccc",
    ),
    (
        (A,),
        SHORT,
        (STOPPED, RUNNING),
        True,
        f"unable to delete {SHORT} (cannot be forced) - image is being used by running container dddddddddddd",
    ),
    (
        (),
        SHORT,
        (RUNNING,),
        False,
        f"unable to delete {SHORT} (cannot be forced) - image is being used by running container dddddddddddd",
    ),
]


@pytest.mark.parametrize(("names", "asked", "usage", "force", "message"), CONFLICTS)
def test_what_is_in_the_way_is_told_in_docker_s_words(
    names: tuple[str, ...], asked: str, usage: tuple, force: bool, message: str
) -> None:
    with pytest.raises(Conflict) as caught:
        plan(image(*names), asked, usage, force=force)
    assert str(caught.value) == f"conflict: {message}"


def test_what_others_were_committed_from_stays() -> None:
    assert plan(image(A), "a:1", (), force=False, children=True) == Plan((A,), delete=False)
    with pytest.raises(Conflict, match="\\(cannot be forced\\) - image has dependent child images"):
        plan(image(A), SHORT, (), force=True, children=True)


def test_chain_ids_are_the_spec_s() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_ids([]) == []
    assert chain_ids([one, two]) == [one, digest(f"{one} {two}".encode())]


async def test_an_image_goes_with_its_last_name_and_all_its_files(room: Room) -> None:
    empty = room.files()
    await room.load(docker_archive((["a:1", "b:1"], [BASE, TOP])))
    image = await room.images.resolve("a:1")
    assert await room.images.remove("a:1") == [Removed(untagged="a:1")]
    top, base = chain_ids(image.diff_ids)[::-1]
    assert await room.images.remove("b:1") == [
        Removed(untagged="b:1"),
        Removed(deleted=image.id),
        Removed(deleted=top),
        Removed(deleted=base),
    ]
    assert [name for name in room.files() if name not in empty] == ["content/index.json"]
    with pytest.raises(NotFound):
        await room.images.remove("a:1")


async def test_layers_that_others_need_stay(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE, TOP]), (["b:1"], [BASE, OTHER])))
    room.images.keepers.append(lambda: [digest(TOP)])
    image = await room.images.resolve("a:1")
    assert await room.images.remove(image.short_id) == [Removed(untagged="a:1"), Removed(deleted=image.id)]
    assert all(room.layers.has(digest(data)) for data in (BASE, TOP, OTHER))
    assert not room.store.has(image.id)
    assert len(await room.images.lower_dirs(await room.images.resolve("b:1"))) == 2


async def test_what_is_just_being_removed_is_not_there_for_who_wants_it_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    removing, go_on, remove = asyncio.Event(), asyncio.Event(), room.layers.remove

    async def slowly(digest: str) -> None:
        removing.set()
        await go_on.wait()
        await remove(digest)

    async def pull() -> bool:
        async with room.images.receive({digest(BASE)}):
            return room.layers.has(digest(BASE))

    monkeypatch.setattr(room.layers, "remove", slowly)
    removal = asyncio.ensure_future(room.images.remove("a:1"))
    await removing.wait()
    pulling = asyncio.ensure_future(pull())
    await asyncio.sleep(0.01)
    go_on.set()
    assert await pulling is False
    await removal
    assert not room.layers.has(digest(BASE))


async def test_containers_that_use_an_image_are_asked_about(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    image = await room.images.resolve("a:1")
    room.images.in_use = lambda id: [Usage("e" * 64, running=False)] if id == image.id else []
    with pytest.raises(Conflict, match="container eeeeeeeeeeee is using its referenced image"):
        await room.images.remove("a:1")
    assert await room.images.resolve("a:1") == image
    assert Removed(deleted=image.id) in await room.images.remove("a:1", force=True)


async def test_removal_tells_the_events(room: Room) -> None:
    await room.load(docker_archive((["a:1"], [BASE])))
    image = await room.images.resolve("a:1")
    reader = room.events.subscribe()
    await room.images.remove("a:1")
    assert [((event := await anext(reader)).action, event.id) for _ in range(2)] == [
        ("untag", image.id),
        ("delete", image.id),
    ]


async def test_a_removed_image_can_be_loaded_again(room: Room) -> None:
    data = docker_archive((["a:1"], [BASE]))
    for _ in range(3):
        await room.load(data)
        image = await room.images.resolve("a:1")
        assert len(await room.images.lower_dirs(image)) == 1
        assert room.layers.has(digest(BASE))
        await room.images.remove("a:1")
        assert not room.layers.has(digest(BASE))
