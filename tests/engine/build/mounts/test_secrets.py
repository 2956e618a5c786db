"""RUN --mount=type=secret: there while the step runs, and in nothing that stays."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from dosirak.engine.build.dockerfile.mounts import Mount
from dosirak.engine.build.inputs import LARGEST, Inputs, Offers
from dosirak.engine.build.mounts import secrets
from dosirak.engine.errors import InvalidRequest, NotFound

from ..conftest import Rig

SECRET = "s3cr3t-that-nobody-else-says"
MOUNT = "RUN --mount=type=secret"


def holding(**secrets: str) -> Inputs:
    return Inputs({name: content.encode() for name, content in secrets.items()})


async def test_secret_is_a_file_that_only_its_owner_reads_and_then_it_is_gone(rig: Rig) -> None:
    text = (
        f"FROM busybox\n{MOUNT},id=key stat -c '%a %u:%g' /run/secrets/key; cat /run/secrets/key\nRUN ls /run || true\n"
    )
    built = await rig.build(text, inputs=holding(key=SECRET))
    assert built.output.startswith(f"400 0:0\n{SECRET}")
    assert not [path for path in await rig.tree(built) if "secret" in path or path == "/run/"]


async def test_target_mode_and_owner_are_the_mounts(rig: Rig) -> None:
    mount = f"{MOUNT},id=k,target=etc/key,mode=0440,uid=7,gid=8,required"
    text = f"FROM busybox\nWORKDIR /w\n{mount} stat -c '%a %u:%g' /w/etc/key; echo x > /w/etc/key || true\n"
    built = await rig.build(text, inputs=holding(k=SECRET))
    assert "440 7:8" in built.output and "Read-only" in built.output


async def test_secret_in_a_variable_needs_no_file(rig: Rig) -> None:
    text = f'FROM busybox\n{MOUNT},id=k,env=TOKEN echo "<$TOKEN>"; ls /run/secrets || true\n'
    built = await rig.build(text, inputs=holding(k=SECRET))
    assert f"<{SECRET}>" in built.output and "No such file" in built.output
    both = f'FROM busybox\n{MOUNT},id=k,env=TOKEN,target=/k echo "<$TOKEN>"; cat /k\n'
    assert (await rig.build(both, inputs=holding(k=SECRET))).output == f"<{SECRET}>\n{SECRET}"


async def test_one_that_is_not_given_is_left_out_unless_required(rig: Rig) -> None:
    assert "No such" in (await rig.build(f"FROM busybox\n{MOUNT},id=k cat /run/secrets/k || true\n")).output
    error = await rig.error(f"FROM busybox\n{MOUNT},id=k,required=true true\n")
    assert error.message == "secret k: not found"


async def test_another_content_is_no_other_step_and_no_file_of_the_engine_has_it(rig: Rig) -> None:
    text = f"FROM busybox\n{MOUNT},id=k {MOUNT[4:]},id=e,env=E test -s /run/secrets/k && echo done > /done\n"
    await rig.build(text, inputs=holding(k=SECRET, e=SECRET))
    again = await rig.build(text, inputs=holding(k="other", e="more"))
    assert again.cached == [2]
    found = subprocess.run(["grep", "-rlaF", SECRET, rig.settings.data, rig.settings.run], stdout=subprocess.PIPE)
    assert found.stdout == b""


async def test_while_the_step_runs_no_file_on_disk_has_the_content(rig: Rig) -> None:
    script = f"FROM busybox\n{MOUNT},id=k,env=E {MOUNT[4:]},id=k sleep 1.5\n"
    build = asyncio.ensure_future(rig.build(script, inputs=holding(k=SECRET)))
    await asyncio.sleep(0.9)
    command = ["grep", "-rlaF", "--exclude-dir=run", SECRET, str(rig.settings.data)]
    found = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE)
    await build
    assert found.stdout == b""


@pytest.mark.parametrize("problem", ["a\0b"])
async def test_what_no_variable_can_hold_is_said(rig: Rig, problem: str) -> None:
    error = await rig.error(f"FROM busybox\n{MOUNT},id=k,env=E true\n", inputs=holding(k=problem))
    assert "zero byte" in error.message and "\0" not in error.message


def test_offers_are_taken_once_and_have_a_limit() -> None:
    offers = Offers()
    word = offers.put(holding(k="x"))
    assert offers.take(word).secrets == {"k": b"x"}
    with pytest.raises(NotFound):
        offers.take(word)
    with pytest.raises(InvalidRequest, match="invalid secret size"):
        offers.put(Inputs({"k": bytes(LARGEST + 1)}))


def test_inputs_do_not_say_the_secrets_content() -> None:
    assert SECRET not in repr(holding(k=SECRET))


def test_a_folder_of_secrets_is_the_runs_own(tmp_path: Path) -> None:
    path = secrets.write(tmp_path / "m", 0, Mount(kind="secret", id="k"), b"x")
    assert path.stat().st_mode & 0o777 == 0o400 and path.parent.stat().st_mode & 0o777 == 0o700
