"""Compressing rotated parts while the log is rotated on."""

from __future__ import annotations

import fcntl
import gzip
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.supervision.logs import compress
from dosirak.engine.supervision.logs import compressor as compressor_module
from dosirak.engine.supervision.logs.compressor import Compressor
from dosirak.engine.supervision.logs.jsonlog import JsonLog
from dosirak.engine.supervision.loop import Loop


def run(path: Path, files: int) -> None:
    subprocess.run([sys.executable, "-S", "-E", "-I", compress.__file__, path, str(files)], check=True, env={})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in folder.iterdir()
    }


def test_every_part_but_the_current_one(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.2"):
        (tmp_path / name).write_text(name)
    os.utime(tmp_path / "log.1", ns=(5, 123456789))
    run(tmp_path / "log", 4)
    assert contents(tmp_path) == {"log": b"log", "log.1.gz": b"log.1", "log.2.gz": b"log.2"}
    assert (tmp_path / "log.1.gz").stat().st_mtime_ns == 123456789  # by which a reader knows the part


def test_what_an_interrupted_one_left_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("whole")
    inode = (tmp_path / "log.1").stat().st_ino
    (tmp_path / f"log.gz-of-{inode}").write_text("half")
    run(tmp_path / "log", 2)
    assert contents(tmp_path) == {"log.1.gz": b"whole"}


def test_a_part_that_another_one_is_at_work_on_is_left_to_it(tmp_path: Path) -> None:
    for name in ("log.1", "log.2"):
        (tmp_path / name).write_text(name)
    with open(tmp_path / "log.1") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run(tmp_path / "log", 3)
    assert contents(tmp_path) == {"log.1": b"log.1", "log.2.gz": b"log.2"}


def test_a_part_that_moves_on_meanwhile_is_found_by_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("first")
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as the monitor while it rotates
    program = subprocess.Popen([sys.executable, "-I", compress.__file__, tmp_path / "log", "3"])
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("log.gz-of-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "log.1").rename(tmp_path / "log.2")
    (tmp_path / "log.1").write_text("second")
    os.close(folder)
    assert program.wait(10) == 0
    assert contents(tmp_path) == {"log.1.gz": b"second", "log.2.gz": b"first"}


def test_a_later_part_with_the_number_of_one_that_was_compressed_is_compressed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filesystems give a file the inode number of one that has just gone."""
    kept = tmp_path / "kept"  # as such a file, the same one is put back
    (tmp_path / "log.1").write_text("part")
    kept.hardlink_to(tmp_path / "log.1")
    folder = os.open(tmp_path, os.O_RDONLY)
    real, rotated = compress._compress, []

    def then_rotated(*arguments: Any) -> None:
        real(*arguments)
        rotated.append(True)
        if len(rotated) == 1:
            (tmp_path / "log.1.gz").rename(tmp_path / "log.2.gz")
            kept.rename(tmp_path / "log.1")

    monkeypatch.setattr(compress, "_compress", then_rotated)
    compress.compress_all(folder, "log", 3)
    os.close(folder)
    assert contents(tmp_path) == {"log.1.gz": b"part", "log.2.gz": b"part"}


def test_what_is_rotated_after_the_program_has_looked_is_compressed_although_the_monitor_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = tmp_path / "looked.py"
    looked.write_text("import time; time.sleep(0.5)")
    loop = Loop()
    log = JsonLog(str(tmp_path / "log"), max_size=100, max_files=2, compressed=True)
    compressor = Compressor(loop, log)
    log.on_rotate = lambda _fd: compressor.rotated()
    with monkeypatch.context() as patched:
        patched.setattr(compressor_module, "_PROGRAM", str(looked))
        log.write(1, b"1\n2\n")
    log.write(1, b"3\n")
    log.close()
    compressor.finish()
    while loop._handlers:  # until both have ended
        loop.turn()
    assert b'"log":"2\\n"' in contents(tmp_path)["log.1.gz"]


def test_a_log_that_is_rotated_without_end_is_compressed_behind_its_back(tmp_path: Path) -> None:
    path, loop = tmp_path / "log", Loop()
    log = JsonLog(str(path), max_size=20_000, max_files=3, compressed=True)
    compressor = Compressor(loop, log)
    log.on_rotate = lambda _fd: compressor.rotated()
    data = b"".join(b"%d\n" % number for number in range(3000))
    for at in range(0, len(data), 300):
        log.write(1, data[at : at + 300])
    deadline = time.monotonic() + 20
    while {file.name for file in tmp_path.iterdir()} != {"log", "log.1.gz", "log.2.gz"}:
        assert time.monotonic() < deadline
        loop.after(0.05, lambda: None)
        loop.turn()
    while compressor.busy:
        loop.turn()
    log.close()
    assert b'"log":"2999\\n"' in contents(tmp_path)["log"].splitlines()[-1]
