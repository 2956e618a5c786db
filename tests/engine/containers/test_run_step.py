"""A build's RUN."""

from __future__ import annotations

import asyncio

import pytest

from dosirak.engine.errors import StartFailed


@pytest.fixture
def step(rig, lower_dirs):
    upper, work = rig.settings.data / "upper", rig.settings.data / "work"
    upper.mkdir()
    work.mkdir()
    said = []

    async def run(*argv, **options):
        return await rig.containers.run_step(
            lowers=lower_dirs,
            upper=upper,
            work=work,
            argv=argv,
            env=["PATH=/bin"],
            output=lambda stream, data: said.append((stream, data)),
            **options,
        )

    run.upper, run.said = upper, said
    return run


async def test_it_runs_writes_to_its_upper_directory_and_tells_its_output(rig, step):
    code = await step("sh", "-c", "echo out; echo err >&2; echo x > /made; id -u; pwd; exit 3", user="user", cwd="/tmp")
    assert code == 3
    assert b"".join(data for stream, data in step.said if stream == 1) == b"out\n1000\n/tmp\n"
    assert (
        b"".join(data for stream, data in step.said if stream == 2)
        == b"err\nsh: can't create /made: Permission denied\n"
    )
    assert await step("sh", "-c", "echo x > /made") == 0
    assert (step.upper / "made").read_text() == "x\n"


async def test_it_leaves_no_record_and_no_directory(rig, step):
    await step("true", network="none")
    assert rig.containers.list(all=True) == []
    assert list((rig.settings.data / "containers").iterdir()) == []
    assert rig.containers.active is False


async def test_cancelled_it_is_killed(rig, step):
    running = asyncio.ensure_future(step("sh", "-c", "echo up; sleep 100", network="none"))
    async with asyncio.timeout(10):
        while not step.said:
            await asyncio.sleep(0.01)
    assert rig.containers.active is True
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert list((rig.settings.data / "containers").iterdir()) == []


async def test_a_command_that_can_t_be_run(rig, step):
    with pytest.raises(StartFailed, match=r'exec: "nope": executable file not found in \$PATH'):
        await step("nope", network="none")


async def test_a_megabyte_of_output_comes_whole(rig, step):
    assert await step("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x", network="none") == 0
    assert b"".join(data for _, data in step.said) == b"x" * 1000000


async def test_steps_run_side_by_side(rig, lower_dirs):
    async def run(number):
        upper, work = rig.settings.data / f"upper{number}", rig.settings.data / f"work{number}"
        upper.mkdir()
        work.mkdir()
        return await rig.containers.run_step(
            lowers=lower_dirs,
            upper=upper,
            work=work,
            argv=["sh", "-c", f"exit {number}"],
            env=["PATH=/bin"],
            output=lambda *_: None,
        )

    assert await asyncio.gather(*map(run, range(6))) == list(range(6))
