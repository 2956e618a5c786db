"""Where a command line comes from and its results go: a notebook's cell or a terminal. The commands know neither."""

from dosirak.magics.doors.base import Door, Result, Session

__all__ = ["Door", "Result", "Session"]
