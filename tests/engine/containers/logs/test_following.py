"""Following a container's log: to its end, and whole while it is rotated."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from dosirak.engine.containers import LogQuery
from dosirak.engine.containers.documents import LogConfig
from dosirak.engine.containers.logs import answer
from support.bundles import split

ON_SIGNAL = "trap 'gone=1' USR1; echo ready; until [ $gone ]; do sleep 0.05; done;"


async def test_logs_are_followed_to_the_end(rig):
    container_id = await rig.create("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    await rig.containers.start(container_id)
    pieces = rig.containers.log_stream(container_id, LogQuery(follow=True))
    times = []
    async for piece in pieces:
        times.append((time.monotonic(), piece))
    assert b"".join(piece[8:] for _, piece in times).replace(b"\n", b"") == b"12345"
    assert times[-1][0] - times[0][0] > 0.25, "came all at once"


async def test_a_follower_may_leave(rig):
    container_id = await rig.start("sh", "-c", "echo x; exec sleep 100")
    follower = rig.containers.logs(container_id, LogQuery(follow=True))
    assert (await asyncio.wait_for(anext(follower), 10)).data == b"x\n"
    await follower.aclose()


async def test_following_ends_at_until(rig):
    container_id = await rig.start("sh", "-c", "while :; do echo x; sleep 0.05; done")
    query = LogQuery(follow=True, until=time.time() + 0.5)
    async with asyncio.timeout(5):
        async for _ in rig.containers.logs(container_id, query):
            pass


async def test_following_a_container_that_has_ended_ends_at_once(rig):
    ran = await rig.run("echo", "x")
    async with asyncio.timeout(5):
        assert [record.data async for record in rig.containers.logs(ran.id, LogQuery(follow=True))] == [b"x\n"]


async def test_a_hundred_thousand_lines_come_whole_and_in_order(rig):
    ran = await rig.run("seq", "100000")
    assert ran.out == "".join(f"{number}\n" for number in range(1, 100001))
    pieces = [piece async for piece in rig.containers.log_stream(ran.id, LogQuery(tail=10))]
    assert split(b"".join(pieces))[0] == b"".join(b"%d\n" % number for number in range(99991, 100001))


@pytest.mark.parametrize("driver", ["json-file", "local"])
async def test_each_line_has_a_frame_of_its_own(rig, driver):
    ran = await rig.run("printf", "a\\nb\\n\\nc", host={"log_config": LogConfig(type=driver)})
    answer = b"".join([piece async for piece in rig.containers.log_stream(ran.id, LogQuery())])
    assert answer == b"".join(b"\1\0\0\0\0\0\0" + bytes((len(line),)) + line for line in (b"a\n", b"b\n", b"\n", b"c"))


@pytest.mark.parametrize("driver", ["json-file", "local"])
async def test_following_loses_nothing_that_is_rotated_away_before_its_first_file_is_opened(rig, driver, monkeypatch):
    """The monitor has answered, the reader has opened nothing, and the service hears no more until all is written."""
    log = LogConfig(type=driver, config={"max-size": "100k", "max-file": "2"})
    script = f"{ON_SIGNAL} seq 50000; touch /written; seq 50001 60000"
    container_id = await rig.start("sh", "-c", script, host={"log_config": log})
    record = rig.containers.get(container_id)
    written = Path(record.log_path).parent / "upper/written"

    class Late(answer.LogReader):
        def __init__(self, *arguments):
            os.kill(record.state.pid, signal.SIGUSR1)
            deadline = time.monotonic() + 30
            while not written.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            super().__init__(*arguments)

    await until_logged(rig, container_id, "ready\n")
    monkeypatch.setattr(answer, "LogReader", Late)
    async with asyncio.timeout(60):
        said = b"".join([piece async for piece in rig.containers.log_stream(container_id, LogQuery(follow=True))])
    assert split(said)[0] == b"ready\n" + b"".join(b"%d\n" % number for number in range(1, 60_001))


async def until_logged(rig, container_id, text):
    async with asyncio.timeout(20):
        while await rig.log(container_id) != text:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("driver", ["json-file", "local"])
async def test_following_loses_nothing_while_the_log_is_rotated_at_full_speed(rig, driver):
    log = LogConfig(type=driver, config={"max-size": "100k", "max-file": "2"})
    container_id = await rig.start("sh", "-c", f"{ON_SIGNAL} seq 200000", host={"log_config": log})
    said = b""
    async with asyncio.timeout(60):
        async for piece in rig.containers.log_stream(container_id, LogQuery(follow=True)):
            if not said and piece:
                await rig.containers.kill(container_id, "USR1")
            said += piece
    assert split(said)[0] == b"ready\n" + b"".join(b"%d\n" % number for number in range(1, 200_001))
    if driver == "local":
        async with asyncio.timeout(20):
            while not Path(f"{rig.containers.get(container_id).log_path}.1.gz").exists():
                await asyncio.sleep(0.02)
