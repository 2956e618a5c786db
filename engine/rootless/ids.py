"""Which ids a user may use in a user namespace: subuid(5), subgid(5), newuidmap(1). Pure, but for `of_user`."""

from __future__ import annotations

import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
_FIRST = 100_000


class Range(NamedTuple):
    """`size` ids of the host from `first` on."""

    first: int
    size: int


class Ids(NamedTuple):
    """A user's own ids and those it has besides. Without ranges there is one id alone."""

    uid: int
    gid: int
    uids: tuple[Range, ...] = ()
    gids: tuple[Range, ...] = ()

    @property
    def single(self) -> bool:
        """Whether no other ids can be had (newuidmap and newgidmap need both)."""
        return not (self.uids and self.gids)

    @property
    def uid_map(self) -> list[tuple[int, int, int]]:
        """Rows of uid_map: inside, outside, count."""
        return _rows(self.uid, self.uids)

    @property
    def gid_map(self) -> list[tuple[int, int, int]]:
        """Rows of gid_map."""
        return _rows(self.gid, self.gids)


def of_user(uid: int, gid: int) -> Ids:
    """What /etc/subuid and /etc/subgid give this user, whose name or number stands there."""
    names = {str(uid)}
    try:
        names.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass  # a number without a name, as in a container
    return Ids(uid, gid, parse(_read(SUBUID), names), parse(_read(SUBGID), names))


def parse(text: str, names: set[str]) -> tuple[Range, ...]:
    """The ranges of one who has these names."""
    return tuple(one for name, one in _lines(text) if name in names and one.size)


def first_free(*tables: str) -> int:
    """From which id on nobody has any, 100000 at least, as for useradd(8). Parameters: `tables`: both files' texts."""
    return max([_FIRST, *(one.first + one.size for table in tables for _, one in _lines(table))])


def _lines(text: str) -> Iterator[tuple[str, Range]]:
    """A line that is none is passed over, as shadow does."""
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
            yield fields[0], Range(int(fields[1]), int(fields[2]))


def _rows(own: int, ranges: Sequence[Range]) -> list[tuple[int, int, int]]:
    """Root is the user itself; the ranges follow it, one after another."""
    rows, inside = [(0, own, 1)], 1
    for first, size in ranges:
        rows.append((inside, first, size))
        inside += size
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
