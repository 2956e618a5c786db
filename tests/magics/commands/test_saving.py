"""`save`: images into archives, from a cell and from a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine


def test_an_image_saved_in_a_cell_can_be_loaded(magic: Any, busybox: str, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    assert magic("image", f"save -o {archive} {busybox}") is None
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    assert manifest[0]["RepoTags"] == [busybox]
    assert magic("image", f"load -i {archive}").tags == [busybox]


def test_what_can_not_be_saved_leaves_no_file(magic: Any, busybox: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cowardly refusing to save to a terminal"):
        magic("image", f"save {busybox}")
    with pytest.raises(Exception, match="invalid output path"):
        magic("image", f"save -o {tmp_path}/missing/image.tar {busybox}")
    with pytest.raises(Exception, match="No such image: nosuch:latest"):
        magic("image", f"save -o {tmp_path}/image.tar nosuch")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_an_archive_to_a_pipe(engine: Engine, busybox: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dosirak.magics.cli", "save", busybox],
        env=engine.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout[257:262] == b"ustar"
