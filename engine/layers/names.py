"""Names of archive entries, cleaned the way Docker does: relative, without "." and "..", never above the root."""

from __future__ import annotations

from dosirak.engine.layers.errors import CorruptArchive

_ODD = frozenset({b"", b".", b".."})


def parts(name: bytes) -> list[bytes]:
    """The components of an entry's name; [] for the root itself.

    A leading "/" means the root; ".." is taken lexically, as Docker does, and refused where it leads above the root
    ("breakout"). Raises CorruptArchive also for the empty name.
    """
    found = name.split(b"/")
    if _ODD.isdisjoint(found):
        return found
    if not name:
        raise CorruptArchive("invalid entry name: empty")
    kept: list[bytes] = []
    for part in found:
        if part == b"..":
            if not kept:
                raise CorruptArchive("invalid entry name: leads out of the root")
            kept.pop()
        elif part not in _ODD:
            kept.append(part)
    return kept


def shown(name: bytes) -> str:
    """A name for a message: printable, and not longer than a line."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:200])
