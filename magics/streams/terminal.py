"""A real terminal at the client: raw mode, its size, and telling the engine when the size changes."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator


def is_terminal() -> bool:
    """Whether a person sits at this process's standard input and output."""
    try:
        return os.isatty(sys.__stdin__.fileno()) and os.isatty(sys.__stdout__.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return False


def size() -> tuple[int, int]:
    """Return the terminal's (rows, columns); zeros when there is none."""
    try:
        found = os.get_terminal_size(1)
    except OSError:
        return 0, 0
    return found.lines, found.columns


@contextlib.contextmanager
def raw(fd: int = 0) -> Iterator[None]:
    """Give the container the keys as they are typed; the terminal is as before afterwards, whatever happens."""
    former = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        # Output processing stays: what we print ourselves still gets its carriage returns.
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, former)
