"""`--init`: a first process that reaps, passes signals on, and ends as the program ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dosirak.engine.errors import StartFailed

INIT = {"init": True}


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_it_runs_the_program_as_its_child_with_its_own_arguments_and_environment(rig):
    ran = await rig.run(
        "sh",
        "-c",
        "tr '\\0' ' ' </proc/1/cmdline; echo; cat /proc/1/comm; echo $$ $FROM_IMAGE $0; env",
        "zero",
        host=INIT,
        env=["GIVEN=1"],
    )
    command, name, said, *environment = ran.out.splitlines()
    assert command.startswith("/sbin/docker-init -- sh -c ")
    assert name == "docker-init"
    assert said.split() == [said.split()[0], "yes", "zero"] and said.split()[0] != "1"
    assert "GIVEN=1" in environment and "/bin/sh" not in environment
    assert rig.containers.get(ran.id).path == "sh"


@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("exit 0", 0), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
)
async def test_it_ends_as_the_program_ended(rig, script, code):
    assert (await rig.run("sh", "-c", script, host=INIT)).code == code


async def test_it_reaps_what_the_program_leaves(rig):
    script = "sh -c '(sleep 0.05 & true)'; sleep 0.3; grep -h State /proc/[0-9]*/status"
    without = await rig.run("sh", "-c", script + "; exec true")
    reaped = await rig.run("sh", "-c", script, host=INIT)
    assert "zombie" not in reaped.out
    assert without.code == reaped.code == 0


async def test_it_passes_signals_on(rig):
    container_id = await rig.start(
        "sh",
        "-c",
        "trap 'echo usr' USR1; trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done",
        host=INIT,
    )

    async def says(word):
        return word in await rig.log(container_id)

    await until(lambda: says("up"))
    await rig.containers.kill(container_id, "USR1")
    await until(lambda: says("usr"))
    waiter = rig.containers.wait(container_id)
    await rig.containers.stop(container_id)
    assert (await waiter).code == 5
    assert await says("term")


async def test_without_a_handler_the_program_ends_at_sigterm_and_not_ten_seconds_later(rig):
    container_id = await rig.start("sleep", "100", host=INIT)
    waiter = rig.containers.wait(container_id)
    async with asyncio.timeout(8):
        await rig.containers.stop(container_id)
    assert (await waiter).code == 143


async def test_a_program_that_is_not_there_is_said_at_the_start(rig):
    container_id = await rig.create("nosuch", host=INIT)
    with pytest.raises(StartFailed, match=r'"nosuch": executable file not found in \$PATH') as failed:
        await rig.containers.start(container_id)
    assert failed.value.exit_code == 127


async def test_on_a_terminal_the_program_is_in_front(rig):
    container_id = await rig.start(
        "sh", "-c", "ps -o pid,pgid,tpgid,args 2>/dev/null; cat /proc/$$/stat", host=INIT, tty=True
    )
    await rig.containers.wait(container_id)
    fields = (await rig.log(container_id)).strip().splitlines()[-1].rpartition(")")[2].split()
    group, foreground = int(fields[2]), int(fields[5])
    assert group == foreground != 1


async def test_it_holds_nothing_of_the_host(rig):
    container_id = await rig.start("sleep", "100", host=INIT, user="1000")
    pid = rig.containers.get(container_id).state.pid
    proc = Path(f"/proc/{pid}")

    async def running():  # a start returns in the middle of execve(2), before the program is mapped
        return (proc / "comm").read_text() == "docker-init\n"

    await until(running)
    assert sorted(os.listdir(proc / "fd")) == ["0", "1", "2"]
    mapped = {line.split()[-1] for line in (proc / "maps").read_text().splitlines() if "/" in line}
    assert mapped == {"(deleted)"}  # the memfd it is executed from
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["1000"] * 4 and status["CapEff"] == "0" * 16
    assert int(status["VmRSS"].split()[0]) < 100  # kB
    assert os.readlink(proc / "exe") == "/memfd:docker-init (deleted)"
    _, out, _ = await rig.exec(container_id, "sh", "-c", "echo x > /proc/1/exe; echo $?", user="0")
    assert out.strip() != "0"


async def test_with_the_host_s_processes_there_is_none(rig):
    ran = await rig.run("sh", "-c", "cat /proc/$$/cmdline", host={"init": True, "pid_mode": "host"})
    assert "docker-init" not in ran.out


async def test_a_restarted_container_has_one_again(rig):
    container_id = await rig.start("sleep", "100", host=INIT)
    await rig.containers.restart(container_id, timeout=0)
    pid = rig.containers.get(container_id).state.pid

    async def named() -> bool:  # one of the last things that execve changes
        return Path(f"/proc/{pid}/comm").read_text() == "docker-init\n"

    await until(named)


async def test_a_signal_that_comes_before_it_is_ready_is_not_lost(rig):
    """The kernel drops what process 1 does not handle yet: it starts with its signals blocked."""
    for _ in range(20):
        container_id = await rig.start("sleep", "100", host=INIT)
        waiter = rig.containers.wait(container_id)
        await rig.containers.kill(container_id, "TERM")
        async with asyncio.timeout(20):
            assert (await waiter).code == 143


async def test_the_program_has_no_signal_blocked(rig):
    ran = await rig.run("grep", "SigBlk", "/proc/self/status", host=INIT)
    assert ran.out.split() == ["SigBlk:", "0" * 16]
