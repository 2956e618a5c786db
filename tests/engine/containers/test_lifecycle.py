"""Create, start, stop, kill, restart, remove, wait: states, answers, events."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from dosirak.engine.containers import CreateRequest, HostConfig
from dosirak.engine.containers.documents import Mount, RestartPolicy
from dosirak.engine.errors import Conflict, InvalidRequest, NotFound, NotModified, StartFailed
from support.bundles import until


async def actions(rig, since=0):
    async with rig.events.subscribe(since_ns=since, until_ns=time.time_ns(), filters={"type": ["container"]}) as reader:
        return [event.action async for event in reader]


def log_of(rig, container_id):
    return Path(rig.containers.get(container_id).log_path).read_bytes()


async def test_a_container_runs_and_says_how_it_ended(rig):
    ran = await rig.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err\n")
    record = rig.containers.get(ran.id)
    assert record.state.status == "exited" and record.state.exit_code == 3 and record.state.pid == 0
    assert record.created < record.state.started_at < record.state.finished_at
    assert rig.containers.status(record).startswith("Exited (3) Less than a second ago")
    assert await actions(rig) == ["create", "start", "die"]


async def test_the_image_s_command_and_environment_are_used(rig):
    image = await rig.image(entrypoint=["sh", "-c"], cmd=["echo $FROM_IMAGE $HOSTNAME $PWD $HOME"])
    ran = await rig.run(image=image, hostname="lunch", working_dir="/tmp/new/dir")
    assert ran.out == "yes lunch /tmp/new/dir /root\n"


async def test_a_name_is_found_with_and_without_slash_and_by_prefix(rig):
    container_id = await rig.create("true", name="web")
    for ref in ("web", "/web", container_id, container_id[:12], container_id[:3]):
        assert rig.containers.get(ref).id == container_id
    with pytest.raises(NotFound, match=r"^No such container: nope$"):
        rig.containers.get("nope")


async def test_a_name_in_use_is_dockers_conflict_and_free_after_removal(rig):
    first = await rig.create("true", name="web")
    with pytest.raises(Conflict) as error:
        await rig.create("true", name="web")
    assert f'The container name "/web" is already in use by container "{first}"' in str(error.value)
    await rig.containers.remove("web")
    await rig.create("true", name="web")


async def test_a_failed_create_leaves_neither_name_nor_directory(rig):
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        await rig.containers.create(CreateRequest(image="nope", cmd=["x"]), "web")
    with pytest.raises(InvalidRequest, match="bind source path does not exist"):
        await rig.create("true", name="web", host={"mounts": [Mount(type="bind", source="/no/such", target="/x")]})
    assert rig.containers.list(all=True) == []
    assert list((rig.settings.data / "containers").iterdir()) == []
    await rig.create("true", name="web")


async def test_starting_twice_is_not_modified(rig):
    container_id = await rig.start("sleep", "100")
    with pytest.raises(NotModified):
        await rig.containers.start(container_id)


async def test_stopping_a_stopped_one_is_not_modified(rig):
    container_id = await rig.create("true")
    with pytest.raises(NotModified):
        await rig.containers.stop(container_id)


async def test_stop_sends_the_stop_signal_and_waits(rig):
    container_id = await rig.start("sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done")
    await until(lambda: log_of(rig, container_id))
    await rig.containers.stop(container_id)
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code) == ("exited", 7)
    assert await rig.log(container_id) == "up\nbye\n"
    assert await actions(rig) == ["create", "start", "kill", "die", "stop"]


async def test_stop_kills_what_does_not_listen(rig):
    container_id = await rig.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    await until(lambda: log_of(rig, container_id))
    before = time.monotonic()
    await rig.containers.stop(container_id, timeout=1)
    assert 0.9 < time.monotonic() - before < 5
    assert rig.containers.get(container_id).state.exit_code == 137


async def test_the_image_s_stop_signal_is_used(rig):
    image = await rig.image(stop_signal="SIGUSR1")
    command = "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done"
    container_id = await rig.start("sh", "-c", command, image=image)
    await until(lambda: log_of(rig, container_id))
    await rig.containers.stop(container_id)
    assert rig.containers.get(container_id).state.exit_code == 9


async def test_kill_sends_any_signal_and_sigkill_waits_for_the_end(rig):
    container_id = await rig.start("sh", "-c", "trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done")
    await until(lambda: log_of(rig, container_id))
    await rig.containers.kill(container_id, "HUP")
    assert rig.containers.get(container_id).state.running
    await until(lambda: b"hup" in log_of(rig, container_id))
    await rig.containers.kill(container_id)
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code) == ("exited", 137)
    with pytest.raises(Conflict, match="is not running"):
        await rig.containers.kill(container_id)
    with pytest.raises(InvalidRequest, match="invalid signal: BOGUS"):
        await rig.containers.kill(container_id, "BOGUS")


async def test_restart_runs_it_again_with_its_changed_files(rig):
    container_id = await rig.start("sh", "-c", "echo x >> /count; wc -l < /count; exec sleep 100")
    await until(lambda: log_of(rig, container_id))
    first = rig.containers.get(container_id).state.pid
    await rig.containers.restart(container_id, timeout=0)
    assert rig.containers.get(container_id).state.pid != first
    await until(lambda: log_of(rig, container_id).count(b"\n") == 2)
    assert await rig.log(container_id) == "1\n2\n"
    assert (await actions(rig))[-1] == "restart"


async def test_a_running_container_is_removed_only_by_force(rig):
    container_id = await rig.start("sleep", "100")
    with pytest.raises(Conflict) as error:
        await rig.containers.remove("/" + rig.containers.get(container_id).name)
    assert str(error.value).endswith("container is running: stop the container before removing or force remove")
    assert not rig.containers.get(container_id).state.removing
    await rig.containers.remove(container_id, force=True)
    with pytest.raises(NotFound):
        rig.containers.get(container_id)
    assert (await actions(rig))[-3:] == ["kill", "die", "destroy"]


async def test_a_removed_container_leaves_nothing_on_disk(rig):
    container_id = (await rig.run("touch", "/file")).id
    await rig.containers.remove(container_id)
    assert list((rig.settings.data / "containers").iterdir()) == []
    assert rig.db.execute("SELECT count(*) FROM containers").fetchone() == (0,)
    await until(lambda: not list((rig.settings.data / "trash").iterdir()))


async def test_a_tree_deeper_than_any_path_is_removed_too(rig):
    container_id = await rig.create("true")
    here = os.open(rig.containers.paths(container_id).upper, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 20, dir_fd=here)
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    await rig.containers.remove(container_id)
    await until(lambda: not list((rig.settings.data / "trash").iterdir()))


async def test_auto_remove(rig):
    container_id = await rig.create("true", host={"auto_remove": True})
    waiter = rig.containers.wait(container_id, "removed")
    await rig.containers.start(container_id)
    assert (await asyncio.wait_for(waiter, 10)).code == 0
    assert rig.containers.list(all=True) == []
    assert await actions(rig) == ["create", "start", "die", "destroy"]


async def test_a_restart_by_hand_does_not_auto_remove(rig):
    container_id = await rig.start("sleep", "100", host={"auto_remove": True})
    await rig.containers.restart(container_id, timeout=0)
    assert rig.containers.get(container_id).state.running


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["nope"], 127, 'exec: "nope": executable file not found in $PATH'),
        (["/no/such"], 127, "no such file or directory"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, "is a directory"),
    ],
)
async def test_a_command_that_can_t_be_run(rig, command, code, words):
    container_id = await rig.create(*command)
    with pytest.raises(StartFailed) as error:
        await rig.containers.start(container_id)
    assert words in str(error.value) and error.value.exit_code == code
    state = rig.containers.get(container_id).state
    assert (state.status, state.exit_code) == ("created", code) and words in state.error
    assert not state.running


async def test_a_failed_start_with_auto_remove_removes(rig):
    container_id = await rig.create("nope", host={"auto_remove": True})
    with pytest.raises(StartFailed):
        await rig.containers.start(container_id)
    assert rig.containers.list(all=True) == []


async def test_a_failed_start_can_be_tried_again(rig):
    container_id = await rig.create("nope", host={"network_mode": "bridge"})
    for _ in range(2):
        with pytest.raises(StartFailed):
            await rig.containers.start(container_id)
    assert rig.networks.sandbox(container_id) is None


async def test_an_unknown_network_is_said_at_start(rig):
    container_id = await rig.create("true", host={"network_mode": "nope"})
    with pytest.raises(NotFound, match="network nope not found"):
        await rig.containers.start(container_id)


async def test_wait_conditions(rig):
    container_id = await rig.create("sh", "-c", "exit 4")
    assert (await rig.containers.wait(container_id)).code == 0  # not running: answered at once
    next_exit = rig.containers.wait(container_id, "next-exit")
    removed = rig.containers.wait(container_id, "removed")
    await rig.containers.start(container_id)
    not_running = rig.containers.wait(container_id, "not-running")
    assert (await asyncio.wait_for(next_exit, 10)).code == 4
    assert (await asyncio.wait_for(not_running, 10)).code == 4
    assert not removed.done()
    await rig.containers.remove(container_id)
    assert (await asyncio.wait_for(removed, 10)).code == 4
    with pytest.raises(NotFound):
        rig.containers.wait(container_id)


async def test_removing_a_created_container_wakes_all_waiters(rig):
    container_id = await rig.create("true")
    waiters = [rig.containers.wait(container_id, condition) for condition in ("next-exit", "removed")]
    await rig.containers.remove(container_id)
    await asyncio.wait_for(asyncio.gather(*waiters), 5)


async def test_a_bad_condition_is_refused(rig):
    container_id = await rig.create("true")
    with pytest.raises(InvalidRequest, match='invalid condition: "someday"'):
        rig.containers.wait(container_id, "someday")


async def test_rename(rig):
    container_id = await rig.create("true", name="old")
    await rig.create("true", name="taken")
    await rig.containers.rename("old", "/new")
    assert rig.containers.get("new").id == container_id
    with pytest.raises(NotFound):
        rig.containers.get("old")
    with pytest.raises(Conflict, match=r"Error when allocating new name: Conflict\. The container name"):
        await rig.containers.rename("new", "taken")
    with pytest.raises(InvalidRequest, match="same name as its current name"):
        await rig.containers.rename("new", "new")
    with pytest.raises(InvalidRequest, match="Invalid container name"):
        await rig.containers.rename("new", "b@d")
    with pytest.raises(InvalidRequest, match="Neither old nor new names may be empty"):
        await rig.containers.rename("new", "")


async def test_on_failure_restarts_as_often_as_asked(rig):
    policy = RestartPolicy(name="on-failure", maximum_retry_count=2)
    container_id = await rig.create("sh", "-c", "echo try; exit 1", host={"restart_policy": policy})
    waiter = rig.containers.wait(container_id, "next-exit")
    await rig.containers.start(container_id)
    assert (await asyncio.wait_for(waiter, 20)).code == 1
    record = rig.containers.get(container_id)
    assert record.restart_count == 2 and record.state.status == "exited"
    assert await rig.log(container_id) == "try\n" * 3
    assert (await actions(rig)).count("die") == 3


async def test_stop_ends_a_restarting_container(rig):
    container_id = await rig.start("false", host={"restart_policy": RestartPolicy(name="always")})
    await until(lambda: rig.containers.get(container_id).restart_count >= 1)
    await asyncio.wait_for(rig.containers.stop(container_id, timeout=5), 10)
    assert rig.containers.get(container_id).state.status == "exited"
    await asyncio.sleep(1.0)
    assert rig.containers.get(container_id).state.status == "exited"


async def test_an_out_of_memory_kill_is_told(rig):
    host = {"memory": 16 << 20, "memory_swap": 16 << 20}
    ran = await rig.run("sh", "-c", "x=a; while :; do x=$x$x; done", host=host)
    record = rig.containers.get(ran.id)
    assert ran.code == 137 and record.state.oom_killed
    assert "oom" in await actions(rig)


async def test_contrary_calls_each_get_an_answer_and_the_state_stays_possible(rig):
    container_id = await rig.create("sleep", "100", host={"auto_remove": False})

    async def attempt(call):
        try:
            await call
        except (Conflict, NotModified, NotFound):
            pass

    for _ in range(5):
        calls = [
            rig.containers.start(container_id),
            rig.containers.stop(container_id, timeout=0),
            rig.containers.start(container_id),
            rig.containers.kill(container_id),
            rig.containers.restart(container_id, timeout=0),
            rig.containers.remove(container_id),
        ]
        await asyncio.wait_for(asyncio.gather(*map(attempt, calls)), 30)
        if not rig.containers.list(all=True):
            container_id = await rig.create("sleep", "100")
            continue
        state = rig.containers.get(container_id).state
        assert state.running == bool(state.pid)
        assert state.removing is False
    await attempt(rig.containers.remove(container_id, force=True))
    assert rig.containers.list(all=True) == []


async def test_removal_by_force_while_it_starts(rig):
    for _ in range(5):
        container_id = await rig.create("sleep", "100")
        starting = asyncio.ensure_future(rig.containers.start(container_id))
        await asyncio.sleep(0)
        await rig.containers.remove(container_id, force=True)
        await asyncio.gather(starting, return_exceptions=True)
        assert rig.containers.list(all=True) == []


async def test_two_removals_at_once(rig):
    container_id = await rig.start("sleep", "100")
    results = await asyncio.gather(
        rig.containers.remove(container_id, force=True),
        rig.containers.remove(container_id, force=True),
        return_exceptions=True,
    )
    assert results[0] is None
    assert isinstance(results[1], Conflict) and "removal of container" in str(results[1])


async def test_twenty_containers_in_parallel(rig):
    ran = await asyncio.gather(*(rig.run("sh", "-c", f"echo {number}; exit {number}") for number in range(20)))
    assert [(entry.code, entry.out) for entry in ran] == [(number, f"{number}\n") for number in range(20)]


async def test_a_cancelled_caller_does_not_stop_half_way(rig):
    container_id = await rig.create("sleep", "100")
    starting = asyncio.ensure_future(rig.containers.start(container_id))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await until(lambda: rig.containers.get(container_id).state.running)
    await rig.containers.remove(container_id, force=True)


async def test_active_says_whether_something_runs(rig):
    assert rig.containers.active is False
    container_id = await rig.start("sleep", "100")
    assert rig.containers.active is True
    await rig.containers.kill(container_id)
    assert rig.containers.active is False


async def test_events_of_networks_and_volumes(rig):
    async with rig.events.subscribe(filters={"type": ["network", "volume"]}) as reader:
        ran = await rig.run("true", host={"network_mode": "bridge", "binds": ["data:/data:ro"]})
        found = [await asyncio.wait_for(anext(reader), 5) for _ in range(5)]
    assert [(event.type, event.action) for event in found] == [
        ("volume", "create"),
        ("network", "connect"),
        ("volume", "mount"),
        ("network", "disconnect"),
        ("volume", "unmount"),
    ]
    network = rig.networks.inspect("bridge")
    assert found[1].id == found[3].id == network.id
    assert found[1].attributes == {"container": ran.id, "name": "bridge", "type": "bridge"}
    assert found[2].id == "data" and found[2].attributes["read/write"] == "false"


async def test_using_image(rig):
    container_id = await rig.create("true")
    image = (await rig.images.resolve("busybox")).id
    assert [record.id for record in rig.containers.using_image(image)] == [container_id]
    assert rig.containers.using_image("sha256:other") == []


async def test_warnings_come_with_the_answer(rig):
    body = CreateRequest(image="busybox", host_config=HostConfig(kernel_memory=1 << 30, network_mode="none"))
    created = await rig.containers.create(body)
    assert any("Kernel memory" in line for line in created.warnings)


async def test_a_stop_right_after_the_start_reaches_a_program_that_is_still_getting_ready(rig):
    # Without a handler its first process never gets a signal from inside or out, but SIGKILL.
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; trap 'exit 7' TERM; while :; do usleep 10000; done"
    container_id = await rig.start("sh", "-c", script)
    waiter = rig.containers.wait(container_id)
    await rig.containers.stop(container_id, timeout=60)
    assert (await waiter).code == 7
