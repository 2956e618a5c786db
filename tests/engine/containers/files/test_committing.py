"""docker commit: the layer, the configuration, the events; what keeps running meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from dosirak.engine.build.changes import apply_changes
from dosirak.engine.containers import ContainerConfig
from dosirak.engine.containers.documents import HealthConfig
from dosirak.engine.containers.files import CommitRequest
from dosirak.engine.containers.files.committing import run_config
from dosirak.engine.errors import Conflict, InvalidRequest, NotFound
from dosirak.engine.images import RunConfig


async def told(rig, since, ref):
    """The container's events since then."""
    async with rig.events.subscribe(since_ns=since, until_ns=time.time_ns(), filters={"container": [ref]}) as reader:
        return [event async for event in reader]


async def test_a_container_in_any_state_becomes_an_image(copy, rig):
    for state, ref in (await copy.states("echo kept > /f; rm /bin/vi; mkdir /d; chown 5 /d")).items():
        image_id = await rig.containers.files.commit(
            ref, CommitRequest(name=f"made:{state}", comment="why", author="me")
        )
        image = await rig.images.resolve(f"made:{state}")
        assert image.id == image_id
        assert (image.config.author, image.config.history[-1].comment) == ("me", "why")
        ran = await rig.run("sh", "-c", "cat /f; stat -c %u /d; ls /bin/vi", image=f"made:{state}")
        assert ran.out == "kept\n5\n"
        assert "No such file" in ran.err
        assert rig.containers.get(ref).state.status == state


async def test_the_layer_has_what_diff_tells_and_nothing_else(rig):
    base = await rig.images.resolve("busybox")
    ran = await rig.run("sh", "-c", "touch /new; echo >> /etc/hosts", host={"tmpfs": {"/fast": ""}})
    image = await rig.images.resolve(await rig.containers.files.commit(ran.id, CommitRequest()))
    assert image.diff_ids[:-1] == base.diff_ids
    layer = rig.shelf.layers.path(image.diff_ids[-1])
    await rig.images.lower_dirs(image)
    found = {str(path.relative_to(layer)) for path in layer.rglob("*")}
    assert {"new", "fast"} <= found
    assert not found & {"etc/hosts", "etc/resolv.conf", "etc/hostname", "dev/console", "dev/pts", "proc", "sys"}


async def test_a_container_that_changed_nothing_adds_no_layer(rig):
    base = await rig.images.resolve("busybox")
    ran = await rig.run("true")
    image = await rig.images.resolve(await rig.containers.files.commit(ran.id, CommitRequest(comment="same")))
    assert image.diff_ids == base.diff_ids
    assert image.config.history[-1].empty_layer
    assert (image.config.history[-1].created_by, image.names) == ("true", ())


async def test_the_image_knows_its_parent_under_every_name_and_after_a_restart(rig):
    base = (await rig.images.resolve("busybox")).id
    ref = await rig.create("true")
    made = await rig.containers.files.commit(ref, CommitRequest(name="child:1"))
    await rig.images.tag("child:1", "child:2")
    await rig.images.remove("child:1")
    assert (await rig.images.resolve("child:2")).parent == base
    await rig.images.remove("child:2")
    nameless = await rig.containers.files.commit(ref, CommitRequest())
    await rig.close()
    await rig.open()
    assert (await rig.images.resolve(nameless)).parent == base
    assert made != nameless
    assert (await rig.images.resolve("busybox")).parent == ""


async def test_the_running_container_stands_still_meanwhile_and_goes_on(copy, rig):
    """Two files that are always written in turn are never a turn apart in the image."""
    script = "i=0; while true; do i=$((i+1)); echo $i > /one; echo $i > /two; done"
    ref = await rig.start("sh", "-c", script)
    await asyncio.sleep(0.2)
    since = time.time_ns()
    await rig.containers.files.commit(ref, CommitRequest(name="paused:1"))
    assert [event.action for event in await told(rig, since, ref)] == ["pause", "unpause", "commit"]
    ran = await rig.run("sh", "-c", "echo $(cat /one) $(cat /two)", image="paused:1")
    one, _, two = ran.out.strip().partition(" ")
    assert int(one or 0) - int(two or 0) in (0, 1) or not one or not two
    before = await copy.text(ref, "/one")
    async with asyncio.timeout(60):
        while await copy.text(ref, "/one") in (before, ""):
            await asyncio.sleep(0.02)
    assert rig.containers.get(ref).state.status == "running"
    since = time.time_ns()
    await rig.containers.files.commit(ref, CommitRequest(name="moving:1", pause=False))
    (event,) = await told(rig, since, ref)
    assert (event.action, event.attributes["imageRef"]) == ("commit", "moving:1")


async def test_what_can_t_be_committed_says_so_and_leaves_nothing(rig):
    rig.images.apply_changes = apply_changes
    ran = await rig.run("touch", "/f")
    blobs = set(rig.shelf.store.digests())
    for request in (
        CommitRequest(name="UPPER"),
        CommitRequest(changes=["RUN x"]),
        CommitRequest(name="a@sha256:" + "0" * 64),
    ):
        with pytest.raises(InvalidRequest):
            await rig.containers.files.commit(ran.id, request)
    assert set(rig.shelf.store.digests()) == blobs
    with pytest.raises(NotFound):
        await rig.containers.files.commit("nobody", CommitRequest())
    live = rig.containers._room.table.find(ran.id)
    live.record.state.dead = True
    with pytest.raises(Conflict, match=f"You cannot commit container {ran.id} which is Dead"):
        await rig.containers.files.commit(ran.id, CommitRequest())
    live.record.state.dead = False


CONTAINER = ContainerConfig(
    hostname="box",
    user="me",
    env=["A=1", "B=2"],
    cmd=["sleep", "1"],
    labels={"l": "1"},
    working_dir="/w",
    volumes={"/v": {}},
    exposed_ports={"80/tcp": {}},
    stop_signal="SIGINT",
    healthcheck=HealthConfig(test=["CMD", "x"], interval=5),
    tty=True,
)


def config(*changes: str, asked: ContainerConfig | None = None) -> RunConfig:
    return run_config(CONTAINER, CommitRequest(changes=changes, config=asked), apply_changes)


def test_the_image_s_configuration_is_the_container_s():
    made = config()
    assert (made.user, made.env, made.cmd, made.working_dir) == ("me", ["A=1", "B=2"], ["sleep", "1"], "/w")
    assert (made.labels, made.volumes, made.exposed_ports) == ({"l": "1"}, {"/v": {}}, {"80/tcp": {}})
    assert (made.stop_signal, made.healthcheck.test, made.healthcheck.interval) == ("SIGINT", ["CMD", "x"], 5)


def test_changes_come_on_top():
    made = config("ENV A=9", "ENV C=$A", 'CMD ["run"]', "EXPOSE 90", "LABEL k=v", "USER you", "ONBUILD RUN y")
    assert sorted(made.env) == ["A=9", "B=2", "C=9"]
    assert (made.cmd, made.user, made.on_build) == (["run"], "you", ["RUN y"])
    assert made.exposed_ports == {"80/tcp": {}, "90/tcp": {}}
    assert made.labels == {"l": "1", "k": "v"}


def test_an_entrypoint_drops_the_command():
    made = config('ENTRYPOINT ["x"]')
    assert (made.entrypoint, made.cmd) == (["x"], None)


def test_a_configuration_of_the_request_s_own_is_filled_up_by_the_container_s():
    made = config(asked=ContainerConfig(cmd=["other"], env=["A=7"]))
    assert (made.cmd, made.env, made.user) == (["other"], ["A=7", "B=2"], "me")
