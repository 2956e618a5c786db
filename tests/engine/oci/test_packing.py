"""The pack of compiled modules: it is only ever quicker than the sources, never something else."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dosirak.engine.oci import packing, program

HOUSE = Path(program.__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the command needs, to be changed."""
    made = tmp_path / "dosirak"
    ignored = shutil.ignore_patterns(
        "__pycache__", "api", "build", "containers", "images", "networks", "magics", "kernel"
    )
    shutil.copytree(HOUSE, made, ignore=ignored)
    return made


def _say(copy: Path, *words: str, room: int = resource.RLIM_INFINITY) -> str:
    """Parameters: `room`: how many bytes a file may have, as on a disk that gets full."""
    command = [sys.executable, "-S", "-E", "-I", str(copy / "engine/oci/program.py"), *words]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def _pack(copy: Path) -> Path:
    (found,) = (copy / "engine/oci/__pycache__").glob("runtime.*.pack")
    return found


def test_it_is_made_once_and_used(copy: Path) -> None:
    said = _say(copy, "state", "nobody")
    assert "does not exist" in said
    made = _pack(copy).stat()
    assert _say(copy, "state", "nobody") == said
    assert _pack(copy).stat().st_mtime_ns == made.st_mtime_ns
    assert _pack(copy).stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("command", [*packing._COMMANDS, "list", "features", "spec", "ps", "events", "update", "pause"])
def test_each_command_finds_what_it_needs(copy: Path, command: str, tmp_path: Path) -> None:
    _say(copy, "--version")
    words = ["--bundle", str(tmp_path / "none")] if command in ("create", "run", "spec") else []
    arguments = [] if command in ("list", "features", "spec") else ["nobody"]
    said = _say(copy, "--root", str(tmp_path / "root"), command, *words, *arguments)
    assert "Error" not in said
    assert "not found" in said or "does not exist" in said or "no such file" in said or command in ("list", "features")


def test_a_source_that_has_changed_counts(copy: Path) -> None:
    _say(copy, "state", "nobody")
    source = copy / "engine/oci/state.py"
    source.write_text(source.read_text().replace("container does not exist", "there is no such box"))
    assert "there is no such box" in _say(copy, "state", "nobody")
    assert "there is no such box" in _say(copy, "state", "nobody")


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"\xff\xff\xff\x7f" + b"x" * 64])
def test_a_damaged_one_is_made_again(copy: Path, damage: bytes) -> None:
    _say(copy, "state", "nobody")
    _pack(copy).write_bytes(damage)
    assert "does not exist" in _say(copy, "state", "nobody")
    assert _pack(copy).stat().st_size > 1000


def test_no_half_of_one_is_left(copy: Path) -> None:
    _say(copy, "state", "nobody")
    whole = _pack(copy)
    assert [path.suffix for path in whole.parent.glob("runtime.*")] == [".pack"]
    size = whole.stat().st_size
    whole.unlink()
    assert "does not exist" in _say(copy, "state", "nobody", room=size - 1000)
    assert list(whole.parent.glob("runtime.*")) == []
