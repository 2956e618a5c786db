"""`%container cp` against what a real docker CLI and dockerd made of the same cases; and hostile archives."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.commands.tree import docker as tree
from dosirak.magics.doors import Session
from dosirak.magics.doors.terminal import Terminal
from dosirak.magics.errors import DosirakError
from dosirak.magics.files import paths
from dosirak.magics.files.unpack import unpack
from dosirak.magics.invoke import invoke
from support.cp import cases
from support.engines import Engine
from support.tars import member, tar

_RECORDED = json.loads((Path(cases.__file__).parent / "recorded.json").read_text())
# An archive on standard input or output has its own tests. The first three need what dockerd 20.10 does wrong.
_CASES = [case for case in cases.CASES if "-" not in case.cp and "archive mode with" not in case.name]
# Where ours, or newer Go, has other words for the same refusal.
_WORDS = ("lstat", "stat", "cannot overwrite", "not a directory", "no such file")


@pytest.fixture(scope="module")
def played(worker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The cases, with `cp` by our own command line."""
    image = worker_engine.start().import_busybox()
    command, patch = tree(), pytest.MonkeyPatch()
    patch.setenv("DOCKER_HOST", worker_engine.docker_host)

    def docker(*arguments: str, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[Any]:
        if arguments[0] != "cp" or "-" in arguments:
            return worker_engine.docker(*arguments, cwd=cwd, **options)
        before = os.getcwd()
        os.chdir(cwd or before)
        try:
            invoke(command, "docker", arguments, Session(Terminal()))
        except DosirakError as error:
            return subprocess.CompletedProcess(arguments, error.exit_code, b"", error.message.encode())
        finally:
            os.chdir(before)
        return subprocess.CompletedProcess(arguments, 0, b"", b"")

    try:
        return cases.play(docker, image, tmp_path_factory.mktemp("cp"))
    finally:
        patch.undo()


@pytest.mark.parametrize("name", [case.name for case in _CASES])
def test_cp_does_what_docker_does(name: str, played: dict[str, dict[str, Any]]) -> None:
    ours, docker = played[name], _RECORDED[name]
    assert (ours["code"], ours["inside"], ours["local"]) == (docker["code"], docker["inside"], docker["local"])
    if not any(word in docker["error"] for word in _WORDS):
        assert ours["error"] == docker["error"]
    assert bool(ours["error"]) == bool(docker["error"])


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("box:/a", ("box", "/a")),
        ("box:a:b", ("box", "a:b")),
        ("/a:b", ("", "/a:b")),
        ("./a:b", ("", "./a:b")),
        ("a", ("", "a")),
        ("box:", ("box", "")),
    ],
)
def test_a_colon_tells_a_container(argument: str, found: tuple[str, str]) -> None:
    assert paths.split_argument(argument) == found


HOSTILE = [
    [member("../x", "file", "out")],
    [member("a/../../x", "file", "out")],
    [member("l", "symlink", "OUT"), member("l/x", "file", "out")],
    [member("l", "symlink", "OUT"), member("l", "dir"), member("l/x", "file", "out")],
    [member("l", "symlink", "OUT/marker"), member("l", "file", "out")],
    [member("l", "symlink", "OUT"), member("m", "link", "l/marker"), member("m", "file", "out")],
    [member("m", "link", "../outside/marker")],
    [member("m", "link", "OUT/marker"), member("m", "file", "out")],
    [member("/abs", "file", "in"), member("abs/x", "file", "out")],
    [member("d", "symlink", "."), member("d/d/d/x", "file", "out")],
    [member("l", "symlink", "OUT/marker"), member("m", "link", "l"), member("m", "dir")],
]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("members", HOSTILE)
def test_a_hostile_archive_stays_in_its_directory(members: list[Any], plain: bool, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "marker").write_text("marker")
    for info, _ in members:
        info.linkname = info.linkname.replace("OUT", str(outside))
    try:
        unpack(io.BytesIO(tar(members)), str(inside), lambda name: name, plain=plain)
    except DosirakError:
        pass
    assert [path.name for path in outside.iterdir()] == ["marker"]
    assert (outside / "marker").read_text() == "marker"
    assert (outside / "marker").stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "outside"]


def test_a_builds_output_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    first = [member("app", "symlink", str(outside)), member("tool", "symlink", str(outside / "x")), member("d", "dir")]
    second = [member("app", "dir"), member("app/x", "file", "in"), member("tool", "file", "tool"), member("d", "dir")]
    second += [member("pipe", "fifo"), member("also", "link", "pipe")]
    second[0][0].mode, second[2][0].mode = 0o555, 0o4755
    for members in (first, second, second):
        unpack(io.BytesIO(tar(members)), str(inside), lambda name: name, plain=True)
    assert not list(outside.iterdir())
    assert (inside / "app/x").read_text() == "in" and (inside / "app").stat().st_mode & 0o777 == 0o555
    assert (inside / "tool").read_text() == "tool" and (inside / "tool").lstat().st_mode & 0o7777 == 0o755
    assert sorted(path.name for path in inside.iterdir()) == ["app", "d", "tool"]
