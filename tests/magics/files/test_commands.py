"""`diff`, `commit`, `export` and `cp` in a notebook and in a terminal."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError
from support.engines import Engine

Shell = Callable[..., Any]


@pytest.fixture
def box(engine: Engine, busybox: str) -> str:
    engine.docker("run", "--name", "box", busybox, "sh", "-c", "echo hi > /new; rm /bin/vi; chmod 700 /home")
    return "box"


def test_diff_is_a_table(magic: Shell, box: str) -> None:
    frame = magic("container", f"diff {box}")
    assert list(frame.columns) == ["CHANGE", "PATH"]
    assert sorted(map(tuple, frame.values.tolist())) == [("A", "/new"), ("C", "/bin"), ("C", "/home"), ("D", "/bin/vi")]
    assert frame[frame["CHANGE"] == "A"]["PATH"].tolist() == ["/new"]


def test_commit_is_an_image_that_runs(magic: Shell, engine: Engine, box: str) -> None:
    image = magic("container", f'commit -m why -a me -c \'CMD ["cat", "/new"]\' {box} kept:1')
    assert engine.docker("inspect", "-f", "{{.Id}} {{.Author}}", "kept:1").stdout.split() == [image.id, "me"]
    assert engine.docker("run", "--rm", "kept:1").stdout == "hi\n"
    engine.docker("rmi", "-f", "kept:1")


def test_export_writes_a_file_or_nothing(magic: Shell, tmp_path: Path, box: str) -> None:
    magic("container", f"export -o {tmp_path}/root.tar {box}")
    with tarfile.open(tmp_path / "root.tar") as archive:
        assert "new" in archive.getnames()
    for line in (f"export {box}", f"export -o {tmp_path}/no/such {box}", f"export -o {tmp_path}/x nobody"):
        with pytest.raises(DosirakError):
            magic("container", line)
    assert [path.name for path in tmp_path.iterdir()] == ["root.tar"]


def test_a_cell_copies_files_and_refuses_archives(magic: Shell, tmp_path: Path, box: str) -> None:
    magic("container", f"cp {box}:/new {tmp_path}/out")
    assert (tmp_path / "out").read_text() == "hi\n"
    (tmp_path / "in").write_text("from the notebook")
    magic("docker", f"cp {tmp_path}/in {box}:/put")
    magic("docker", f"cp {box}:/put {tmp_path}/back")
    assert (tmp_path / "back").read_text() == "from the notebook"
    for line in (
        f"cp {box}:/new -",
        f"cp - {box}:/",
        f"cp {box}:/no {tmp_path}",
        f"cp {tmp_path}/no {box}:/",
        "cp a b",
    ):
        with pytest.raises(DosirakError):
            magic("container", line)


def test_the_command_line_streams_archives(engine: Engine, box: str) -> None:
    def dosirak(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "dosirak.magics.cli", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, env=engine.environment(), check=False)

    out = dosirak("cp", f"{box}:/new", "-")
    assert (out.returncode, out.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(out.stdout)) as archive:
        assert archive.getnames() == ["new"]
    assert dosirak("cp", "-", f"{box}:/tmp", stdin=out.stdout).returncode == 0
    assert dosirak("diff", box).stdout.decode().split("\n")[:2] == ["C /bin", "D /bin/vi"]
    assert b"A /tmp/new" in dosirak("diff", box).stdout
    with tarfile.open(fileobj=io.BytesIO(dosirak("export", box).stdout)) as archive:
        assert {"new", "tmp/new"} <= set(archive.getnames())
    refused = dosirak("cp", f"{box}:/no", "/tmp")
    assert (refused.returncode, refused.stderr.decode().strip()) == (
        1,
        f"dosirak: Error response from daemon: Could not find the file /no in container {box}",
    )
