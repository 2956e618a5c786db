"""A file that is there whole or not at all, and what is no file stays what it is."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from dosirak.magics.commands.output import target_of
from dosirak.magics.doors import Session
from dosirak.magics.doors.terminal import Terminal
from dosirak.magics.errors import DosirakError
from dosirak.magics.files.whole import whole_file


def test_an_interruption_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(target) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_link_and_what_is_no_regular_file_stay_what_they_are(tmp_path: Path) -> None:
    device, fifo, link = tmp_path / "null", tmp_path / "fifo", tmp_path / "link"
    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkfifo(fifo)
    link.symlink_to("file")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    for target in (device, fifo, link):
        with whole_file(target) as file:
            file.write(b"new")
    reader.join()
    assert device.is_char_device() and fifo.is_fifo() and got == [b"new"]
    assert link.is_symlink() and (tmp_path / "file").read_bytes() == b"new"


def test_no_archive_takes_the_place_of_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    for name, words in {
        "/dev/null": "a character device file",
        ".": "a directory",
        "fifo": "a named pipe (FIFO)",
        "link": "a symbolic link directly",
    }.items():
        with pytest.raises(DosirakError) as caught:
            target_of(Session(Terminal()), str(tmp_path / name), "failed to save image")
        assert caught.value.message == f"failed to save image: cannot write to {words}"
