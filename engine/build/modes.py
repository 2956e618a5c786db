"""`--chmod`: octal, or in chmod's letters ("u=rwX,go=rX"). Pure.

Semantics: chmod(1) of POSIX; a clause that says not whose mode it is, is everybody's but for what BuildKit's umask
(022) holds back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_OCTAL = re.compile(r"[0-7]{1,5}", re.ASCII)
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)", re.ASCII)
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)", re.ASCII)
_UMASK = 0o022
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0o1000}
_BITS = {"r": 4, "w": 2, "x": 1}

Mode = Callable[[int, bool], int]
"""From a file's mode (the lowest 12 bits count) and whether it is a directory to the mode that it gets."""


def parse_mode(text: str) -> Mode:
    """Reads the value of `--chmod`. Raises ValueError in BuildKit's words."""
    if _OCTAL.fullmatch(text) and (octal := int(text, 8)) <= 0o7777:
        return lambda mode, directory: octal
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    actions = [
        _Action(clause[1], sign, what) for clause in clauses if clause for sign, what in _ACTION.findall(clause[2])
    ]
    if not all(clauses):
        raise ValueError(f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")

    def apply(mode: int, directory: bool) -> int:
        mode &= 0o7777
        for action in actions:
            mode = action.applied(mode, directory)
        return mode

    return apply


@dataclass(frozen=True, slots=True)
class _Action:
    """One sign of a clause: `who` as written, `sign` + - or =, `what` the letters after it."""

    who: str
    sign: str
    what: str

    def applied(self, mode: int, directory: bool) -> int:
        whose = "ugo" if not self.who or "a" in self.who else self.who
        given = self._given(mode, directory, whose)
        if not self.who:
            given &= ~_UMASK
        if self.sign == "+":
            return mode | given
        if self.sign == "-":
            return mode & ~given
        cleared = sum(7 << _SHIFTS[one] | _SPECIAL[one] for one in set(whose))
        # a directory keeps setuid and setgid unless they are named, as in chmod(1) of GNU
        kept = mode & 0o6000 if directory and "s" not in self.what else 0
        return mode & ~cleared | given | kept

    def _given(self, mode: int, directory: bool, whose: str) -> int:
        if self.what in _SHIFTS:
            bits = mode >> _SHIFTS[self.what] & 7
        else:
            bits = sum(_BITS[letter] for letter in set(self.what) & set(_BITS))
            if "X" in self.what and (directory or mode & 0o111):
                bits |= 1
        given = 0
        for one in whose:
            given |= bits << _SHIFTS[one]
            if one != "o" and "s" in self.what:
                given |= _SPECIAL[one]
        return given | (0o1000 if "t" in self.what and "o" in whose else 0)
