"""Restart policies, and what is left when the service, the launcher, a spare or a monitor is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dosirak.engine.errors import HostLimit, StartFailed
from dosirak.engine.runtime import cgroups
from dosirak.engine.supervision.client import Launcher
from dosirak.engine.supervision.model import Exit, Launch, LogFile, Restart
from dosirak.engine.supervision.task import Task
from support.bundles import Box, Bundle, alive, cgroup_folders, descendants, ended, split, start_time, until


def monitor_of(task: Task) -> int:
    return int(Path(f"/proc/{task.pid}/stat").read_text().rpartition(")")[2].split()[1])


# Restart policies


async def test_on_failure_gives_up_after_its_retries(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "echo run; exit 3"])
    events: list[object] = []
    begin = time.monotonic()
    task = await box.launch(bundle, restart=Restart("on-failure", 3))
    task.on_exit = lambda end, again: events.append((end.code, end.restarts, again))
    task.on_restart = lambda: events.append(task.restarts)
    end = await ended(task)
    assert (end.code, end.restarts) == (3, 3)
    assert bundle.logged() == "run\n" * 4
    assert events == [(3, 0, True), 1, (3, 1, True), 2, (3, 2, True), 3, (3, 3, False)]
    assert 0.7 <= time.monotonic() - begin < 5, "the pauses double: 0.1 + 0.2 + 0.4"
    assert json.loads((bundle.path / "exit.json").read_text())["restarts"] == 3


async def test_on_failure_is_content_with_success(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "[ -e /second ] && exit 0; touch /second; exit 1"])
    end = await ended(await box.launch(bundle, restart=Restart("on-failure")))
    assert (end.code, end.restarts) == (0, 1)


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
async def test_always_goes_on_until_stopped(box: Box, policy: str) -> None:
    bundle = box.bundle(["sh", "-c", "echo run; sleep 0.02"])
    task = await box.launch(bundle, restart=Restart(policy))
    pids = {task.pid}
    await until(lambda: pids.add(task.pid) or task.restarts >= 2, "two restarts")
    await task.stop_restarting()
    end = await ended(task)
    assert end.code == 0
    assert bundle.logged().count("run") == end.restarts + 1 >= 3


async def test_stopping_in_a_pause_ends_it_at_once_with_the_last_end(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "exit 7"])
    task = await box.launch(bundle, restart=Restart("always"))
    await until(lambda: task.restarts >= 3 and task.pid == 0, "the fourth pause (0.8 s)")
    begin = time.monotonic()
    await task.stop_restarting()
    end = await ended(task)
    assert (end.code, end.error) == (7, "")
    assert time.monotonic() - begin < 0.5
    assert end.at <= time.time() - 0.0


async def test_a_killed_container_restarts_too(box: Box) -> None:
    task = await box.launch(box.bundle(["sleep", "60"]), restart=Restart("on-failure", 1))
    first = task.pid
    task.kill(signal.SIGKILL)
    await until(lambda: task.pid not in (0, first), "the restart")
    await task.stop_restarting()
    task.kill(signal.SIGKILL)
    assert (await ended(task)).code == 137


async def test_a_first_start_that_fails_is_not_tried_again(box: Box) -> None:
    with pytest.raises(StartFailed):
        await box.launch(box.bundle(["nosuch"]), restart=Restart("always"))


async def test_a_restart_that_fails_is_the_end(box: Box) -> None:
    layer = box.layer(prog="#!/bin/sh\nrm /prog\nexit 1\n")
    (layer / "prog").chmod(0o755)
    bundle = box.bundle(["/prog"], lower=[layer])
    task = await box.launch(bundle, restart=Restart("on-failure", 3))
    ends: list[Exit] = []
    task.on_exit = lambda end, again: ends.append(end)
    end = await ended(task)
    assert [entry.code for entry in ends] == [1, 127]
    assert "no such file" in end.error


async def test_restarts_see_the_changes_of_earlier_runs_and_fresh_processes(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "echo x >>/count; wc -l </count; ls /dev/shm; touch /dev/shm/y; exit 1"])
    await ended(await box.launch(bundle, restart=Restart("on-failure", 2)))
    assert bundle.logged() == "1\n2\n3\n"


async def test_without_a_pid_namespace_a_restart_clears_away_what_the_run_left(box: Box) -> None:
    script = "sleep 1000 & echo $!; exit 1"
    bundle = box.bundle(["sh", "-c", script], namespaces=["mount"])
    task = await box.launch(bundle, restart=Restart("on-failure", 2))
    await ended(task)
    pids = [int(line) for line in bundle.logged().split()]
    assert len(pids) == 3
    await until(lambda: not any(start_time(pid) for pid in pids), "what was left to end", 2)


# Spares and the launcher


async def test_killed_spares_are_replaced(box: Box, own_launcher: Launcher) -> None:
    assert (await ended(await box.launch(box.bundle(), launcher=own_launcher))).code == 0
    for _ in range(3):
        spares = descendants(own_launcher.pid)
        del spares[own_launcher.pid]
        for pid in spares:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # One that dies with a request just taken can only be told as an error.
        await until(lambda spares=spares: not any(alive(pid, spares[pid]) for pid in spares), "them to end")
        assert (await ended(await box.launch(box.bundle(), launcher=own_launcher))).code == 0


async def test_a_dead_child_of_a_spare_is_no_failure(box: Box, own_launcher: Launcher) -> None:
    """A spare's container-to-be: process 1 of a pid namespace."""
    await ended(await box.launch(box.bundle(), launcher=own_launcher))
    await asyncio.sleep(0.2)
    for pid in descendants(own_launcher.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[1:] == ["1"]:
                os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.05)
    for _ in range(3):
        assert (await ended(await box.launch(box.bundle(), launcher=own_launcher))).code == 0


async def test_a_killed_launcher_leaves_containers_and_is_replaced(box: Box, own_launcher: Launcher) -> None:
    bundle = box.bundle(["sh", "-c", "read x; echo $x; exit 5"])
    wire = box.wire()
    task = await box.launch(
        bundle, launcher=own_launcher, stdin=True, stdin_once=True, attach=(wire.attach(stdin=True),)
    )
    for _ in range(3):
        first = own_launcher.pid
        os.kill(first, signal.SIGKILL)
        for _ in range(4):  # spares of the killed one may still serve
            assert (await ended(await box.launch(box.bundle(), launcher=own_launcher))).code == 0
        await until(lambda first=first: own_launcher.pid != first, "the new launcher")
    await wire.send(b"lives\n")
    assert split(bytes(await wire.all()))[0] == b"lives\n"
    assert (await ended(task)).code == 5


async def test_a_launcher_killed_in_a_burst(box: Box, own_launcher: Launcher) -> None:
    """Every launch comes to a container or to an error; afterwards all is well."""
    bundles = [box.bundle(["true"]) for _ in range(24)]

    async def launch(bundle: Bundle) -> object:
        try:
            return (await ended(await box.launch(bundle, launcher=own_launcher))).code
        except HostLimit as error:
            return str(error)

    work = [asyncio.ensure_future(launch(bundle)) for bundle in bundles]
    for _ in range(3):
        await asyncio.sleep(0.02)
        if own_launcher.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(own_launcher.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        results = await asyncio.gather(*work)
    assert set(map(type, results)) <= {int, str}
    assert {result for result in results if isinstance(result, int)} <= {0}
    assert (await ended(await box.launch(box.bundle(), launcher=own_launcher))).code == 0


async def test_many_at_once(box: Box) -> None:
    started = await asyncio.gather(*(box.start(f"echo {number}") for number in range(30)))
    results = await asyncio.gather(*(one.finish() for one in started))
    assert [result.out for result in results] == [f"{number}\n" for number in range(30)]


async def test_closing_the_launcher_leaves_containers_but_no_process_of_its_own(box: Box) -> None:
    launcher = Launcher()
    await launcher.start()
    task = await box.launch(box.bundle(["sleep", "60"]), launcher=launcher)
    await asyncio.sleep(0.1)
    own = descendants(launcher.pid)
    supervised = {task.pid, monitor_of(task)}
    await launcher.close()
    rest = {pid: started for pid, started in own.items() if pid not in supervised}
    assert len(rest) >= 4, "the launcher and its spares"
    await until(lambda: not any(alive(pid, rest[pid]) for pid in rest), "them to end")
    assert start_time(task.pid)
    task.kill(signal.SIGKILL)
    assert (await ended(task)).code == 137


async def test_no_descriptor_grows_with_the_number_of_launches(box: Box, own_launcher: Launcher) -> None:
    def descriptors() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{own_launcher.pid}/fd")), len(os.listdir("/proc/self/fd"))

    started = await box.start(["sleep", "60"])

    async def all_kinds() -> None:
        for tty in (False, True):
            wire = box.wire()
            task = await box.launch(
                box.bundle(tty=tty),
                launcher=own_launcher,
                stdin=True,
                attach=(wire.attach(stdin=True, framed=not tty),),
            )
            await wire.all()
            await ended(task)
            wire.close()
        with contextlib.suppress(StartFailed):
            await box.launch(box.bundle(["nosuch"]), launcher=own_launcher)
        await box.exec(started, ["true"])
        with contextlib.suppress(StartFailed):
            await box.exec(started, ["nosuch"])
        for wire in box.wires:
            if wire is not started.wire:
                wire.close()

    await all_kinds()
    await asyncio.sleep(0.2)
    before = descriptors()
    for _ in range(4):
        await all_kinds()
    await asyncio.sleep(0.2)
    assert descriptors() == before


async def test_a_second_launch_of_a_bundle_waits_for_the_first_ones_clean_up(box: Box) -> None:
    bundle = box.bundle(["sh", "-c", "echo again >>/x; wc -l </x"])
    for _ in range(5):
        task = await box.launch(bundle)
        await task.wait()  # not gone yet: its monitor still owns the cgroup
    await ended(task)
    assert bundle.logged() == "1\n2\n3\n4\n5\n"


# The service


SERVICE = textwrap.dedent("""
    import asyncio, json, sys
    sys.path[:0] = json.loads(sys.argv[1])
    from pathlib import Path
    from dosirak.engine.supervision.client import Launcher
    from dosirak.engine.supervision.model import Launch, LogFile, Restart

    async def main():
        launcher = Launcher()
        await launcher.start()
        tasks = []
        for line in json.loads(sys.argv[2]):
            bundle = Path(line["bundle"])
            restart = Restart(*line["restart"])
            tasks.append(await launcher.launch(
                Launch(bundle.name, bundle, log=LogFile(bundle / "json.log"), stdin=True, restart=restart)))
        print(launcher.pid, *[task.pid for task in tasks], flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
""")


class Service:
    """An engine service in a process of its own, to be killed."""

    def __init__(self, *asked: tuple[Bundle, Restart]) -> None:
        what = [{"bundle": str(b.path), "restart": [r.policy, r.max_retries]} for b, r in asked]
        arguments = [sys.executable, "-c", SERVICE, json.dumps(sys.path), json.dumps(what)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert self.process.stdout
        line = self.process.stdout.readline().split()
        self.launcher, *self.pids = map(int, line)

    def kill(self) -> None:
        own = descendants(self.launcher)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()
        self.left = own


@pytest_asyncio.fixture(loop_scope="session")
async def next_service() -> AsyncIterator[Launcher]:
    """The service that comes after; adopting needs no launcher process."""
    launcher = Launcher()
    yield launcher
    await launcher.close()


async def test_a_killed_service_leaves_containers_running_for_the_next(box: Box, next_service: Launcher) -> None:
    bundle = box.bundle(["sh", "-c", "while read x; do echo got $x; [ $x = end ] && exit 9; done"])
    service = await asyncio.to_thread(Service, (bundle, Restart()))
    (pid,) = service.pids
    await asyncio.to_thread(service.kill)
    await until(lambda: not start_time(service.launcher), "the launcher to end with its service")
    task = await next_service.adopt(bundle.path)
    assert isinstance(task, Task)
    box.tasks.append(task)
    assert (task.pid, task.restarts, task.exited) == (pid, 0, False)
    assert 0 <= time.time() - task.started_at < 30
    wire = box.wire()
    await task.attach(wire.attach(stdin=True))
    await wire.send(b"one\n")
    await wire.until(b"got one\n")
    seen = []

    async def follow() -> None:
        async for _ in task.follow_log():
            seen.append(bundle.logged())

    follower = asyncio.ensure_future(follow())
    await wire.send(b"two\n")
    await wire.until(b"got two\n")
    exec_wire = box.wire()
    launch = Launch("x", bundle.path, attach=(exec_wire.attach(),))
    executed = await next_service.exec(
        launch, task.pidfd, {**bundle.spec["process"], "args": ["echo", "execed"]}, bundle.spec
    )
    assert split(bytes(await exec_wire.all()))[0] == b"execed\n"
    await ended(executed)
    await wire.send(b"end\n")
    assert (await ended(task)).code == 9
    async with asyncio.timeout(10):
        await follower
    assert seen[-1] == "got one\ngot two\ngot end\n"
    left = service.left
    await until(lambda: not any(alive(pid, left[pid]) for pid in left), "all that service started to end")


async def test_what_ended_without_a_service_is_found_out_by_the_next(box: Box, next_service: Launcher) -> None:
    quick, failing, never = box.bundle(["sh", "-c", "read x; exit 6"]), box.bundle(["sleep", "60"]), box.bundle()
    service = await asyncio.to_thread(Service, (quick, Restart()), (failing, Restart()))
    await asyncio.to_thread(service.kill)
    quick_pid, failing_pid = service.pids
    wire = box.wire()
    first = await next_service.adopt(quick.path)
    assert isinstance(first, Task)
    await first.attach(wire.attach(stdin=True))
    second = Launcher()  # a third service
    os.kill(failing_pid, signal.SIGKILL)
    await wire.send(b"\n")
    await until(lambda: not cgroup_folders(quick.cgroup) and not cgroup_folders(failing.cgroup), "both to be gone")
    for bundle, code in ((quick, 6), (failing, 137)):
        found = await second.adopt(bundle.path)
        assert isinstance(found, Exit)
        assert (found.code, found.oom, found.error) == (code, False, "")
        assert 0 <= time.time() - found.at < 30
    assert await second.adopt(never.path) is None
    assert await second.adopt(box.root / "nowhere") is None
    assert (await ended(first)).code == 6
    assert not start_time(quick_pid)


async def test_restarts_go_on_without_a_service(box: Box, next_service: Launcher) -> None:
    bundle = box.bundle(["sh", "-c", "echo run; exit 1"])
    service = await asyncio.to_thread(Service, (bundle, Restart("always")))
    await asyncio.to_thread(service.kill)
    await until(lambda: bundle.logged().count("run") >= 4, "restarts")
    task = await next_service.adopt(bundle.path)
    assert isinstance(task, Task)
    box.tasks.append(task)
    assert task.restarts >= 3
    if not task.pid:
        assert task.pidfd < 0
        with pytest.raises(ProcessLookupError):
            task.kill(signal.SIGKILL)
    await task.stop_restarting()
    assert (await ended(task)).code == 1


async def test_two_services_hear_of_the_same_container(box: Box, next_service: Launcher) -> None:
    started = await box.start("read x; exit 8", stdin=True)
    second = await next_service.adopt(started.bundle.path)
    assert isinstance(second, Task)
    await started.wire.send(b"\n")
    assert (await ended(second)).code == 8
    assert (await started.finish()).code == 8


async def test_a_service_that_does_not_read_loses_neither_the_container_nor_its_end(box: Box) -> None:
    """Its messages fill the socket; before, the monitor then hung up and the container was taken for dead."""
    bundle = box.bundle(["sh", "-c", "read x; echo end; exit 4"])
    wire = box.wire()
    task = await box.launch(bundle, stdin=True, stdin_once=True, attach=(wire.attach(stdin=True),))
    for _ in range(900):  # each is answered; nobody reads the answers meanwhile, this is one turn of the event loop
        try:
            task._conversation.send({"op": "follow", "seen": -1})
        except ProcessLookupError:
            time.sleep(0.01)
    await wire.send(b"\n")
    assert (await ended(task)).code == 4
    assert split(bytes(await wire.all()))[0] == b"end\n"


async def test_nonsense_from_a_service_does_not_kill_the_container(box: Box) -> None:
    started = await box.start("read x; exit 4", stdin=True)
    for message in ({}, {"op": "attach"}, {"op": "resize"}, {"op": "nosuch"}, {"op": "follow"}, {"op": []}):
        started.task._conversation.send(message)
    started.task._conversation._sock.send(b"\xff not json")
    started.task._conversation._sock.send(b"[]")
    await started.wire.send(b"\n")
    assert (await started.finish()).code == 4


# The monitor


async def test_a_killed_monitor_takes_its_container_along(box: Box) -> None:
    started = await box.start("sleep 1000 & exec sleep 60")
    inside = {pid: start_time(pid) for pid in cgroups.processes(started.bundle.cgroup)}
    task, wire = await box.exec_start(started, ["sleep", "60"])
    os.kill(monitor_of(started.task), signal.SIGKILL)
    async with asyncio.timeout(10):
        end = await started.task.wait()
    assert (end.code, end.error) == (137, "the container's monitor was killed")
    await until(lambda: not any(alive(pid, inside[pid]) for pid in inside), "the container's processes to end")
    assert (await ended(task)).code == 137
    await wire.all()
    assert cgroup_folders(started.bundle.cgroup), "nobody has removed it yet"
    await asyncio.to_thread(cgroups.remove, started.bundle.cgroup)
    assert cgroup_folders(started.bundle.cgroup) == []
    again = await box.launch(box.bundle(["true"]))
    assert (await ended(again)).code == 0


async def test_a_killed_monitor_of_an_exec_takes_only_the_exec_along(box: Box) -> None:
    started = await box.start("read x; exit 3", stdin=True)
    task, wire = await box.exec_start(started, ["sleep", "60"])
    pid = task.pid
    os.kill(monitor_of(task), signal.SIGKILL)
    assert (await ended(task)).code == 137
    await wire.all()
    await until(lambda: not start_time(pid), "the exec'd process to end")
    await started.wire.send(b"\n")
    assert (await started.finish()).code == 3


async def test_a_bundle_whose_monitor_was_killed_can_be_started_again(box: Box) -> None:
    script = "[ -e /second ] && second=yes; touch /second; echo run; [ $second ] && exit 0; exec sleep 60"
    bundle = box.bundle(["sh", "-c", script])
    task = await box.launch(bundle)
    await until(lambda: bundle.logged() == "run\n", "the first run")
    os.kill(monitor_of(task), signal.SIGKILL)
    await task.wait()
    await asyncio.to_thread(cgroups.remove, bundle.cgroup)
    assert (await ended(await box.launch(bundle))).code == 0
    assert bundle.logged() == "run\nrun\n"


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01])
async def test_a_cancelled_launch_leaves_nothing(box: Box, delay: float) -> None:
    bundle = box.bundle(["sh", "-c", "echo run; [ -e /second ] && exit 3; touch /second; exec sleep 60"])
    asked = Launch("x", bundle.path, log=LogFile(bundle.log_path), restart=Restart("always"))
    launch = asyncio.ensure_future(box.launcher.launch(asked))
    await asyncio.sleep(delay)
    if launch.done():
        box.tasks.append(launch.result())
        return
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    # It may be launched again at once; what is left of the first is waited for.
    (bundle.path / "upper/second").touch()
    assert (await ended(await box.launch(bundle))).code == 3
