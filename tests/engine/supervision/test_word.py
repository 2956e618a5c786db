"""No program runs before its monitor, and whoever asked for it, has said so."""

from __future__ import annotations

import time

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.supervision.model import LogFile
from support.bundles import Box, Bundle, cgroup_folders, ended

TOUCH = ["sh", "-c", "echo > /ran"]


def ran(bundle: Bundle) -> bool:
    return (bundle.path / "upper/ran").exists()


async def test_what_is_done_meanwhile_is_done_before_the_program_runs(box: Box) -> None:
    bundle, seen = box.bundle(TOUCH), []

    def meanwhile() -> None:
        time.sleep(0.3)
        seen.append(ran(bundle))

    assert (await ended(await box.launch(bundle, meanwhile=meanwhile))).code == 0
    assert seen == [False] and ran(bundle)


async def test_the_document_may_be_written_meanwhile(box: Box) -> None:
    bundle = box.bundle(TOUCH)
    (bundle.path / "config.json").unlink()
    await ended(await box.launch(bundle, spec=bundle.spec, meanwhile=bundle.write))
    assert ran(bundle)


async def test_if_that_fails_the_program_never_runs_and_nothing_is_left(box: Box) -> None:
    bundle = box.bundle(TOUCH)

    def meanwhile() -> None:
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        await box.launch(bundle, meanwhile=meanwhile)
    assert not ran(bundle) and not cgroup_folders(bundle.cgroup)
    assert (await ended(await box.launch(bundle))).code == 0  # it can be tried again


async def test_a_start_that_fails_by_itself_is_told_as_that(box: Box) -> None:
    bundle = box.bundle(["/nosuch"])
    with pytest.raises(StartFailed, match="/nosuch"):
        await box.launch(bundle, meanwhile=lambda: time.sleep(0.1))
    assert not cgroup_folders(bundle.cgroup)


async def test_without_a_log_it_never_runs(box: Box) -> None:
    bundle = box.bundle(TOUCH)
    with pytest.raises(StartFailed, match=r"no such file or directory.*/nosuch/log"):
        await box.launch(bundle, log_file=LogFile(bundle.path / "nosuch/log"))
    assert not ran(bundle) and not cgroup_folders(bundle.cgroup)
