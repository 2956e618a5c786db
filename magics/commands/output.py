"""Where an archive goes that the engine sends: a file, whole or not at all, or the standard output."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dosirak.magics.doors import Session
from dosirak.magics.errors import DosirakError
from dosirak.magics.files.whole import whole_file

if TYPE_CHECKING:
    import requests

_PIECE = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link directly",
    stat.S_IFBLK: "a block device file",
    stat.S_IFCHR: "a character device file",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
}


def target_of(session: Session, output: str, failed: str) -> Path | None:
    """The file that `-o` names, None for the standard output; to be called before the engine is asked.

    Parameters: `failed` begins the message about a path that can't be. Raises DosirakError in Docker's words.
    """
    if not output:
        if session.door.escalates or sys.stdout.isatty():
            raise DosirakError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return None
    target = Path(output).expanduser()
    if not target.absolute().parent.is_dir():
        raise DosirakError(f'{failed}: invalid output path: directory "{target.parent}" does not exist')
    if (kind := _kind(target)) is not None:
        raise DosirakError(f"{failed}: cannot write to {kind}")
    return target


def _kind(target: Path) -> str | None:
    """What is there that no archive may take the place of, in Docker's words."""
    try:
        return _KINDS.get(stat.S_IFMT(target.lstat().st_mode))
    except OSError:
        return None


def deliver(session: Session, response: requests.Response, target: Path | None) -> None:
    """Writes the answer to the file, or to the standard output. An interruption leaves no half of a file."""
    if target is None:
        if session.door.escalates:
            raise DosirakError("a cell can't show an archive; name a file or directory")
        with response:
            for piece in response.iter_content(_PIECE):
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    try:
        with response, whole_file(target) as file:
            for piece in response.iter_content(_PIECE):
                file.write(piece)
    except OSError as error:
        raise DosirakError(f"open {target}: {os.strerror(error.errno or 0).lower()}") from error
