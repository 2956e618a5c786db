"""Volumes of containers: anonymous and named, filled from the image, shared, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.containers.documents import ImageOptions, Mount, VolumeOptions
from dosirak.engine.errors import Conflict, InvalidRequest, NotFound, StartFailed


def names(rig):
    return [volume.name for volume in rig.volumes.list()]


async def test_a_volume_of_the_image_is_anonymous_and_filled(rig):
    image = await rig.image(volumes={"/etc": {}})
    ran = await rig.run("sh", "-c", "cat /etc/passwd | wc -l; stat -c %a /etc; echo new > /etc/new", image=image)
    assert ran.out.split() == ["2", "755"]
    (volume,) = rig.volumes.list()
    assert volume.anonymous and len(volume.name) == 64
    assert (Path(volume.mountpoint) / "new").read_text() == "new\n"
    (mount,) = rig.containers.get(ran.id).mounts
    assert (mount.type, mount.name, mount.destination, mount.source) == (
        "volume",
        volume.name,
        "/etc",
        volume.mountpoint,
    )
    await rig.containers.remove(ran.id)
    assert names(rig) == [volume.name], "rm without -v keeps it"


async def test_rm_v_removes_anonymous_volumes_only(rig):
    ran = await rig.run("true", host={"binds": ["/anon", "named:/named"]})
    assert len(names(rig)) == 2
    await rig.containers.remove(ran.id, volumes=True)
    assert names(rig) == ["named"]


async def test_auto_remove_removes_anonymous_volumes(rig):
    container_id = await rig.create("true", host={"binds": ["/anon"], "auto_remove": True})
    waiter = rig.containers.wait(container_id, "removed")
    await rig.containers.start(container_id)
    await waiter
    assert names(rig) == []


async def test_a_named_volume_outlives_containers_and_is_filled_once(rig):
    host = {"binds": ["data:/etc"]}
    await rig.run("sh", "-c", "rm /etc/group; echo kept > /etc/mine", host=host)
    ran = await rig.run("sh", "-c", "ls /etc; cat /etc/mine", host=host)
    assert "group" not in ran.out.split() and ran.out.endswith("kept\n")


async def test_nocopy(rig):
    ran = await rig.run("sh", "-c", "ls /etc", host={"binds": ["data:/etc:nocopy"]})
    assert set(ran.out.split()) <= {"hosts", "hostname", "resolv.conf"}
    mount = Mount(
        type="volume", source="other", target="/bin2", volume_options=VolumeOptions(no_copy=True, labels={"a": "b"})
    )
    await rig.run("true", host={"mounts": [mount]})
    assert rig.volumes.get("other").labels == {"a": "b"}


async def test_a_readonly_volume(rig):
    ran = await rig.run("sh", "-c", "touch /data/x; echo $?", host={"binds": ["data:/data:ro"]})
    assert ran.out == "1\n"


async def test_volumes_from(rig):
    await rig.run("sh", "-c", "echo hello > /data/x", name="keeper", host={"binds": ["/data"]})
    ran = await rig.run("sh", "-c", "cat /data/x; touch /data/y; echo $?", host={"volumes_from": ["keeper:ro"]})
    assert ran.out == "hello\n1\n"
    await rig.containers.remove(ran.id, volumes=True)
    assert len(names(rig)) == 1, "it belongs to the other container"


async def test_a_volume_still_used_by_another_container_stays(rig):
    keeper = await rig.run("true", name="keeper", host={"binds": ["/data"]})
    await rig.create("true", host={"volumes_from": ["keeper"]})
    await rig.containers.remove(keeper.id, volumes=True)
    assert len(names(rig)) == 1


async def test_a_half_made_container_leaves_no_anonymous_volume(rig):
    rig.volumes.create(record=False)
    await rig.close()
    await rig.open()
    assert names(rig) == [] and list((rig.settings.data / "volumes").iterdir()) == []


async def test_a_volume_in_use_is_not_removed(rig):
    container_id = await rig.create("true", host={"binds": ["data:/data"]})
    (user,) = rig.containers.using_volume("data")
    assert user.id == container_id
    with pytest.raises(Conflict, match=f"remove data: volume is in use - \\[{container_id}\\]"):
        await rig.volumes.remove("data", users=[user.id])


async def test_a_failed_create_leaves_no_anonymous_volume(rig):
    mount = Mount(type="bind", source="/no/such", target="/zz/deeper")
    with pytest.raises(InvalidRequest):
        await rig.create("true", host={"binds": ["/anon"], "mounts": [mount]})
    assert names(rig) == []


async def test_a_part_of_a_volume_is_mounted_and_nothing_outside_it(rig):
    await rig.run(
        "sh",
        "-c",
        "mkdir -p /v/a/b && echo in >/v/a/b/f && ln -s /etc /v/out && ln -s ../../.. /v/up && ln -s a/b /v/link",
        host={"binds": ["data:/v"]},
    )

    def part(path, target="/part"):
        options = VolumeOptions(subpath=path)
        return {"mounts": [Mount(type="volume", source="data", target=target, volume_options=options)]}

    assert (await rig.run("cat", "/part/f", host=part("a/b"))).out == "in\n"
    assert (await rig.run("cat", "/part/f", host=part("link"))).out == "in\n"
    assert (await rig.run("cat", "/file", host=part("a/b/f", "/file"))).out == "in\n"
    escapes = "path concatenation escapes the base directory"
    for wrong, words in (("up", escapes), ("out", escapes), ("nosuch", "cannot access path .*: no such file")):
        container_id = await rig.create("ls", "/part", host=part(wrong))
        with pytest.raises(StartFailed, match=words):
            await rig.containers.start(container_id)
    for wrong in ("../x", "/a"):
        with pytest.raises(InvalidRequest, match="subpath must be a relative path within the volume"):
            await rig.create("true", host=part(wrong))
    # What the image has at that place is copied only into an empty one that is there, and never out of the volume.
    await rig.run("mkdir", "/v/empty", host={"binds": ["data:/v"]})
    for place in ("a", "empty", "up", "new"):
        await rig.create("true", host=part(place, "/etc"))
    script = "ls /v /v/a; cat /v/empty/passwd"
    found = (await rig.run("sh", "-c", script, host={"binds": ["data:/v"]})).out
    assert found.startswith("/v:\na\nempty\nlink\nout\nup\n\n/v/a:\nb\nroot:")


async def test_an_image_is_mounted_read_only_and_its_layers_stay_with_the_container(rig):
    mount = Mount(type="image", source="busybox", target="/image")
    container_id = await rig.create("sh", "-c", "cat /image/etc/passwd; touch /image/x", host={"mounts": [mount]})
    (shown,) = rig.containers.get(container_id).mounts
    image = await rig.images.resolve("busybox")
    assert (shown.type, shown.name, shown.source, shown.rw) == ("image", "busybox", image.id, False)
    assert set(image.diff_ids) <= set(rig.containers.kept_layers())
    waiter = rig.containers.wait(container_id, "next-exit")
    await rig.containers.start(container_id)
    assert (await waiter).code == 1
    assert (await rig.log(container_id)).startswith("root:")
    assert "Read-only file system" in await rig.log(container_id, "stderr")
    part = Mount(type="image", source="busybox", target="/image", image_options=ImageOptions(subpath="etc"))
    ran = await rig.run("sh", "-c", "cat /image/passwd && ! touch /image/x", host={"mounts": [part]})
    assert ran.code == 0 and ran.out.startswith("root:")
    with pytest.raises(NotFound, match="No such image: nosuch:latest"):
        await rig.create("true", host={"mounts": [Mount(type="image", source="nosuch", target="/image")]})
