"""A build's context: what we send against what the docker CLI sends, and how the builder's story is read."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from dosirak.magics.building.context import stream
from dosirak.magics.building.steps import Build
from dosirak.magics.building.view import html, plain
from dosirak.magics.errors import DosirakError
from support.recorder import Recorder

FILES = {
    "Dockerfile": "FROM x",
    "a.txt": "a",
    "a.log": "log",
    "sub/b.txt": "b" * 5000,
    "sub/c.log": "c",
    "sub/deep/d.md": "d",
    "node_modules/x/y.js": "y",
    "keep/secret.pem": "s",
    "keep/public.pem": "p",
    ".git/HEAD": "h",
    "weird name [1].txt": "w",
    "ünïcode.txt": "u",
}

IGNORES = [
    "",
    "*.log",
    "**/*.log",
    "node_modules\n.git\n# comment\n\n",
    "*\n!a.txt\n!sub",
    "sub/*\n!sub/deep",
    "**/*.pem\n!keep/public.pem",
    "/a.txt\nsub/deep/",
    "Dockerfile\n.dockerignore",
    "*.txt\n!ünïcode.txt",
    "sub/**\n",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (place / "link").symlink_to("a.txt")
    (place / "dangling").symlink_to("/nowhere")
    (place / "empty").mkdir()
    (place / "run.sh").write_text("#!/bin/sh\n")
    (place / "run.sh").chmod(0o755)
    return place


def members(data: bytes) -> dict[str, tuple[int, int, str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            m.name: (
                ord(m.type),
                m.mode,
                m.linkname,
                (archive.extractfile(m) or io.BytesIO()).read() if m.isreg() else b"",
            )
            for m in archive
        }


@pytest.mark.parametrize("ignore", IGNORES)
@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker CLI is not installed")
def test_the_context_is_what_docker_sends(folder: Path, tmp_path: Path, ignore: str) -> None:
    if ignore:
        (folder / ".dockerignore").write_text(ignore)
    name, archive = stream(folder, "Dockerfile")
    with Recorder(tmp_path / "s") as recorded:
        environment = {**os.environ, "DOCKER_HOST": recorded.host, "DOCKER_BUILDKIT": "0"}
        subprocess.run(["docker", "build", str(folder)], env=environment, capture_output=True, check=True)
        theirs = members(recorded.last("/build").body)
    ours = members(b"".join(archive))
    files = {path: member for path, member in theirs.items() if member[0] != ord("5")}
    assert {path: member for path, member in ours.items() if member[0] != ord("5")} == files
    assert name == "Dockerfile"


def test_a_dockerfile_from_a_cell_is_hidden_from_copy(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*.log\n")
    name, archive = stream(folder, "", "FROM y\n")
    found = members(b"".join(archive))
    assert found[name][3] == b"FROM y\n"
    assert found[".dockerignore"][3].decode().splitlines() == ["*.log", ".dockerignore", name]
    assert "a.log" not in found and "Dockerfile" in found


def test_a_missing_folder_or_dockerfile_is_told(tmp_path: Path) -> None:
    with pytest.raises(DosirakError, match="unable to prepare context: path"):
        stream(tmp_path / "nowhere", "Dockerfile")
    with pytest.raises(DosirakError, match="unable to evaluate symlinks in Dockerfile path"):
        stream(tmp_path, "Dockerfile")


def tell(*texts: str, error: str = "") -> Build:
    build = Build(name="demo")
    for text in texts:
        build.feed({"stream": text})
    if error:
        build.feed({"error": error, "errorDetail": {"code": 3, "message": error}})
    build.finish()
    return build


def test_the_builder_s_story_becomes_steps() -> None:
    build = tell(
        "Step 1/3 : FROM dosirak/host\n",
        " ---> 0123456789ab\n",
        "Step 2/3 : RUN echo hi",
        "\n",
        " ---> Using cache\n ---> 1123456789ab\n",
        "Step 3/3 : RUN make\n ---> Running in 2123456789ab\n",
        "compi",
        "ling\nlinking\n",
        "Removing intermediate container 2123456789ab\n ---> 3123456789ab\n",
        "Successfully built 3123456789ab\nSuccessfully tagged demo:latest\n",
    )
    assert [(s.text, s.cached, s.failed, s.output) for s in build.steps] == [
        ("FROM dosirak/host", False, False, []),
        ("RUN echo hi", True, False, []),
        ("RUN make", False, False, ["compiling", "linking"]),
    ]
    assert (build.image, build.tags, build.error) == ("3123456789ab", ["demo:latest"], "")
    assert plain(build).splitlines()[-1].startswith("built demo:latest in ")


def test_a_failed_build_shows_its_step_open() -> None:
    build = tell(
        "Step 1/1 : RUN <b>false\n",
        "bad\x1b]0;x\x07 <i>news\n",
        error="The command '/bin/sh -c false' returned a non-zero code: 3",
    )
    shown = html(build)
    assert build.code == 3 and build.steps[0].failed
    assert "<details open" in shown and "bad &lt;i&gt;news" in shown and "&lt;b&gt;false" in shown
    assert "<b>false" not in shown
    assert "✗ 1/1 RUN <b>false" in plain(build) and "returned a non-zero code: 3" in plain(build)
