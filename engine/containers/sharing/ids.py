"""User and group ids of user namespaces: which of the host's a container has, each from a range of its own.

Nothing on disk bears these ids (layers, volumes and what a container writes are mapped), so a range is free again as
soon as its container is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from dosirak.engine.errors import HostLimit

USUAL_SIZE = 1 << 16
_ALL = (1 << 32) - 1
# What systemd's plan of user ids leaves free (systemd, docs/UIDS-GIDS.md); below 2³¹, where net.ipv4.ping_group_range
# ends. An entry of one of these names in /etc/subuid and /etc/subgid takes its place; the second is podman's.
_POOL = (0x70000000, 0x7FFDFFFF)
_NAMES = ("dosirak", "containers")
_FILES = ("/etc/subuid", "/etc/subgid")
# Ranges begin at multiples of this.
_GRAIN = 1 << 10


class IdMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """`size` ids from `inside` on are those from `outside` on, on the host; users and groups alike."""

    inside: int
    outside: int
    size: int


SAME = (IdMap(0, 0, _ALL),)
"""Every id is the host's."""


def outer(maps: Iterable[IdMap], number: int) -> int:
    """An id of the container, as the host has it; one that no map knows stays what it is."""
    return next((m.outside + number - m.inside for m in maps if m.inside <= number < m.inside + m.size), number)


def inner(maps: Iterable[IdMap], number: int) -> int:
    """An id of the host, as the container has it; one that no map knows stays what it is."""
    return next((m.inside + number - m.outside for m in maps if m.outside <= number < m.outside + m.size), number)


class Ids:
    """The ranges in use in one engine root."""

    def __init__(self, data: Path) -> None:
        """Parameters: `data`: the engine's data directory; two engines begin to search at different places."""
        self._key = hashlib.sha256(str(data).encode()).digest()
        self._held: dict[str, Sequence[IdMap]] = {}

    def hold(self, container_id: str, maps: Sequence[IdMap]) -> None:
        """A container that is on record has these. The host's own are nobody's."""
        if maps and tuple(maps) != SAME:
            self._held[container_id] = maps

    def allot(self, container_id: str, size: int = USUAL_SIZE) -> list[IdMap]:
        """A range that no other container has, from now on this one's. Raises HostLimit when none is free."""
        first, last = _pool([_read(path) for path in _FILES])
        taken = [(one.outside, one.outside + one.size) for maps in self._held.values() for one in maps]
        slots = (last + 1 - first) // USUAL_SIZE
        begin = first + int.from_bytes(self._key[:4], "big") % slots * USUAL_SIZE if slots else first
        found = _free(taken, begin, last, size)
        if found < 0:
            found = _free(taken, first, last, size)
        if found < 0:
            raise HostLimit(f"no {size} user ids in a row are free between {first} and {last}")
        maps = [IdMap(0, found, size)]
        self._held[container_id] = maps
        return maps

    def release(self, container_id: str) -> None:
        """Give a range back, if there is one."""
        self._held.pop(container_id, None)


def _free(taken: Iterable[tuple[int, int]], begin: int, last: int, size: int) -> int:
    """The first place from `begin` on where `size` ids are free, -1 if there is none."""
    at = begin
    for start, end in sorted(taken):
        if start < at + size and at < end:
            at = -(-end // _GRAIN) * _GRAIN
    return at if at + size - 1 <= last else -1


def _pool(texts: Sequence[str]) -> tuple[int, int]:
    """First and last id of the pool; `texts`: /etc/subuid and /etc/subgid, which have to agree."""
    for name in _NAMES:
        found = [_entry(text, name) for text in texts]
        if found[0] is not None and found[0] == found[1]:
            return found[0]
    return _POOL


def _entry(text: str, name: str) -> tuple[int, int] | None:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 3 and fields[0] == name and fields[1].isdecimal() and fields[2].isdecimal():
            first, size = int(fields[1]), int(fields[2])
            if size and first + size - 1 < _ALL:
                return first, first + size - 1
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
