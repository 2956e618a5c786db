"""--build-context: further folders and images, by names that go before stages and images of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.build.inputs import Folder, Inputs

from .conftest import Rig, write


def seen(path: Path) -> Folder:
    status = path.stat()
    return Folder(str(path), status.st_dev, status.st_ino)


def named(**contexts: Folder | str) -> Inputs:
    return Inputs(contexts=contexts)


async def test_copy_and_mount_take_files_of_a_named_folder_by_its_own_ignore_rules(rig: Rig, tmp_path: Path) -> None:
    inputs = named(other=seen(write(tmp_path / "o", {"a": "named\n", "b.log": "", ".dockerignore": "*.log\n"})))
    text = "FROM busybox\nCOPY --from=other . /o/\nRUN --mount=from=Other,target=/m cat /m/a && ls /o\n"
    assert (await rig.build(text, write(tmp_path / "c", {"a": "main"}), inputs=inputs)).output == "named\na\n"


async def test_changed_file_of_a_named_folder_is_copied_again(rig: Rig, tmp_path: Path) -> None:
    folder = write(tmp_path / "o", {"a": "1"})
    text = "FROM scratch\nCOPY --from=other a /\n"
    await rig.build(text, inputs=named(other=seen(folder)))
    assert (await rig.build(text, inputs=named(other=seen(folder)))).cached == [2]
    (folder / "a").write_text("2")
    changed = await rig.build(text, inputs=named(other=seen(folder)))
    assert (changed.cached, await rig.files(changed)) == ([], {"/a": "2"})


async def test_named_context_goes_before_a_stage_and_an_image(rig: Rig, tmp_path: Path) -> None:
    folder = seen(write(tmp_path / "o", {"f": "folder"}))
    text = "FROM busybox AS data\nRUN exit 1\nFROM scratch\nCOPY --from=data f /\n"
    assert await rig.files(await rig.build(text, inputs=named(data=folder))) == {"/f": "folder"}
    base = await rig.build(
        "FROM nowhere/such:1\nRUN echo stands\n", inputs=Inputs(contexts={"nowhere/such:1": "busybox"})
    )
    assert base.output == "stands\n"


async def test_stage_can_stand_on_a_folder(rig: Rig, tmp_path: Path) -> None:
    folder = seen(write(tmp_path / "o", {"d/f": "x"}))
    built = await rig.build("FROM rootfs\nCOPY --from=rootfs d/f /g\n", inputs=named(rootfs=folder))
    assert await rig.files(built) == {"/d/": "", "/d/f": "x", "/g": "x"}
    assert built.layers == 2


@pytest.mark.parametrize("other", ["gone", "moved"])
async def test_folder_that_is_not_the_callers_is_refused(rig: Rig, tmp_path: Path, other: str) -> None:
    folder = seen(write(tmp_path / "o", {"a": ""}))
    (tmp_path / "o").rename(tmp_path / "p")
    if other == "moved":
        (tmp_path / "o").mkdir()
    error = await rig.error("FROM scratch\nCOPY --from=other a /\n", inputs=named(other=folder))
    assert str(error).startswith("unable to prepare context")
