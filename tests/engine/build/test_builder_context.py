"""Whole builds: where files come from, and what a context can't reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosirak.engine.errors import InvalidRequest, NotFound

from .conftest import Rig, stream, tar, write


@pytest.mark.parametrize("compression", ["", ":gz", ":bz2", ":xz"])
async def test_context_comes_as_a_stream_however_compressed(rig: Rig, compression: str) -> None:
    body = tar({"Dockerfile": "FROM busybox\nCOPY a/f /\nRUN cat /f\n", "a/f": "streamed\n"}, f"w{compression}")
    assert (await rig.build(None, stream(body))).output == "streamed\n"


async def test_dockerfile_is_found_by_its_path_or_in_lower_case(rig: Rig, tmp_path: Path) -> None:
    context = write(
        tmp_path / "c", {"sub/D": "FROM busybox\nRUN echo sub\n", "dockerfile": "FROM busybox\nRUN echo low\n"}
    )
    assert (await rig.build(None, context, dockerfile="sub/D")).output == "sub\n"
    assert (await rig.build(None, context)).output == "low\n"


async def test_ignore_rules_apply_to_a_directory_and_the_dockerfiles_own_come_first(rig: Rig, tmp_path: Path) -> None:
    files = {"a": "", "b": "", "d/x.log": "", ".dockerignore": "b\n**/*.log\nDockerfile\n.dockerignore\n"}
    context = write(tmp_path / "c", {**files, "Dockerfile": "FROM scratch\nCOPY . /\n"})
    assert set(await rig.files(await rig.build(None, context))) == {"/a", "/d/"}
    (context / "Dockerfile.dockerignore").write_text("*\n!b\n")
    assert set(await rig.files(await rig.build(None, context))) == {"/b"}


async def test_ignored_dockerfile_of_a_stream_is_read_but_not_copied(rig: Rig) -> None:
    body = tar(
        {"Dockerfile": "FROM scratch\nCOPY . /\n", "a": "", "b": "", ".dockerignore": "Dockerfile\n.dockerignore\nb\n"}
    )
    assert set(await rig.files(await rig.build(None, stream(body)))) == {"/a", "/b"}


async def test_add_unpacks_archives_and_copy_does_not(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {})
    context.mkdir(exist_ok=True)
    (context / "t.tgz").write_bytes(tar({"in/f": "f"}, "w:gz"))
    added = await rig.build("FROM scratch\nADD t.tgz /x/\n", context)
    assert set(await rig.files(added)) == {"/x/", "/x/in/", "/x/in/f"}
    copied = await rig.build("FROM scratch\nCOPY t.tgz /x/\n", context)
    assert set(await rig.files(copied)) == {"/x/", "/x/t.tgz"}


async def test_link_out_of_the_context_leads_nowhere(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("FROM secret\n")
    context = write(tmp_path / "c", {"f": ""})
    (context / "Dockerfile").symlink_to(tmp_path / "secret")
    (context / "link").symlink_to("../secret")
    assert str(await rig.error(None, context)) == "Cannot locate specified Dockerfile: Dockerfile"
    assert isinstance(await rig.error(None, context, dockerfile="../secret"), InvalidRequest)
    assert isinstance(await rig.error("FROM busybox\nCOPY link /\n", context), NotFound)
