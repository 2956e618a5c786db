"""Whole builds that fail or are cancelled: one clear error, finished steps cached, nothing else left."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from dosirak.engine.build import model
from dosirak.engine.build.errors import CommandFailed, DockerfileError
from dosirak.engine.errors import EngineError, InvalidRequest, NotFound, NotSupported

from .conftest import Built, Rig, stream, tar, write


async def test_failing_command_is_told_with_its_status_and_output(rig: Rig) -> None:
    built = await rig.try_build("FROM busybox\nRUN echo before; exit 3\nRUN echo never\n")
    assert isinstance(built.error, CommandFailed) and built.error.code == 3
    message = "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3"
    assert str(built.error) == message
    assert "before\n" in built.text and "never" not in built.output
    assert built.events[-1] == model.BuildFailed(built.events[-1].at, message, 3)


async def test_flood_of_output_is_clipped_and_the_build_goes_on(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nRUN yes | head -c 20000000\nRUN echo after\n")
    assert len(built.output) < 9 << 20
    assert built.output.endswith("\n[output clipped, log limit 8MiB reached]\nafter\n")


async def test_steps_before_a_failure_stay_cached(rig: Rig) -> None:
    await rig.try_build("FROM busybox\nRUN echo one > /1\nRUN exit 1\n")
    await rig.builder.close()
    assert (await rig.build("FROM busybox\nRUN echo one > /1\nRUN true\n")).cached == [2]


async def test_failure_in_one_stage_ends_the_others(rig: Rig) -> None:
    began = time.monotonic()
    await rig.error("FROM busybox AS a\nRUN sleep 30\nFROM busybox\nRUN sleep 0.2; exit 1\nCOPY --from=a / /\n")
    assert time.monotonic() - began < 25


async def test_what_is_wrong_from_the_start_is_told_before_any_event(rig: Rig) -> None:
    cases = [
        ("FROM nosuch\n", EngineError, "connect: connection refused"),
        ("FROM busybox AS build\nFROM biuld\n", NotFound, r"\(did you mean build\?\)"),
        ("FROM bussybox\n", NotFound, r"\(did you mean busybox\?\)"),
        ("FROM scrach\n", NotFound, r"\(did you mean scratch\?\)"),
        ("FROM busybox\nRNU x\n", DockerfileError, r"on line 2: unknown instruction: RNU \(did you mean RUN\?\)"),
        ("FROM busybox\nADD https://x/y.git /\n", NotSupported, "not supported yet"),
        ("", InvalidRequest, r"the Dockerfile \(Dockerfile\) cannot be empty"),
    ]
    for text, kind, message in cases:
        built = await rig.try_build(text)
        assert isinstance(built.error, kind) and re.search(message, str(built.error)), (text, built.error)
        assert built.events == []


async def test_wrong_tag_is_refused_before_anything_is_done(rig: Rig) -> None:
    for tag in ("UPPER", "a b", "x@sha256:" + "0" * 64, ""):
        assert isinstance(await rig.error("FROM busybox\n", tags=(tag,)), InvalidRequest), tag


async def test_step_that_can_not_be_done_says_why(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": ""})
    cases = [
        ("COPY nope /", "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file"),
        ("COPY --from=busybox /nope /", "COPY failed: stat nope: file does not exist"),
        ("COPY --chown=nobody f /", "COPY failed: unable to find user nobody: no matching entries in passwd file"),
        ("COPY f /bin/sh/x", "COPY failed: mkdir /bin/sh: not a directory"),
        ("WORKDIR /bin/sh", "WORKDIR failed: mkdir /bin/sh: not a directory"),
        ('RUN ["/nope"]', "no such file or directory"),
    ]
    for line, message in cases:
        assert message in str(await rig.error(f"FROM busybox\n{line}\n", context)), line


async def test_bad_context_is_one_error(rig: Rig, tmp_path: Path) -> None:
    assert isinstance(await rig.error(None, stream(b"this is no tar" * 100)), InvalidRequest)
    assert isinstance(await rig.error(None, stream(tar({"Dockerfile": "FROM busybox\n"}, "w:gz")[:60])), InvalidRequest)
    assert isinstance(await rig.error(None, tmp_path / "nope"), InvalidRequest)


async def test_client_that_breaks_off_its_upload_leaves_nothing(rig: Rig) -> None:
    async def broken() -> object:
        yield tar({"Dockerfile": "FROM busybox\n"})[:700]
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, AssertionError)):
        await rig.build(None, broken())


@pytest.mark.parametrize(
    "step",
    ["RUN echo > /big; sleep 61", "RUN trap '' TERM INT; sleep 61", "COPY --from=busybox / /copy", "COPY . /all"],
)
async def test_cancelled_build_leaves_finished_steps_and_nothing_else(rig: Rig, tmp_path: Path, step: str) -> None:
    context = write(tmp_path / "c", {f"d/{n}": "x" * 1000 for n in range(300)})
    text = f"FROM busybox\nRUN echo one > /1\n{step}\n"
    events: list[model.Progress] = []
    request = model.BuildRequest(context=context, dockerfile_text=text)
    building = asyncio.create_task(rig.builder.build(request, events.append))
    while not any(isinstance(event, model.StepStarted) and event.step == 3 for event in events):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    building.cancel()
    began = time.monotonic()
    await asyncio.gather(building, return_exceptions=True)
    assert time.monotonic() - began < 20
    assert not _processes("sleep 61")
    await rig.builder.close()
    again: Built = await rig.build("FROM busybox\nRUN echo one > /1\nRUN true\n")
    assert again.cached == [2]


async def test_build_waiting_for_anothers_step_does_it_itself_when_that_one_is_cancelled(rig: Rig) -> None:
    text = "FROM busybox\nRUN sleep 0.4; echo done > /d\n"
    first = asyncio.create_task(rig.build(text))
    await asyncio.sleep(0.2)
    second = asyncio.create_task(rig.build(text))
    await asyncio.sleep(0.05)
    first.cancel()
    built = await second
    assert built.ran == [2] and (await rig.files(built))["/d"] == "done\n"


async def test_leftovers_of_a_killed_service_are_swept_when_the_next_one_starts(rig: Rig) -> None:
    left = rig.settings.data / "build/0123"
    write(left, {"context/f": ""})
    await rig.builder.start()
    await rig.builder.close()
    assert not left.exists()


def _processes(command: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line.endswith(command):
            found.append(line)
    return found
