"""Rows whose documents can't be read, kept aside as they were found: for a person to look at, and for `GET /info`."""

from __future__ import annotations

from collections.abc import Iterator

from dosirak.engine.state.database import Database


class Damaged:
    """The damaged rows of one table. In memory stands only what they are called.

    Parameters: `kind`: "network".
    """

    def __init__(self, db: Database, kind: str) -> None:
        self._db = db
        self._kind = kind
        rows = db.execute("SELECT key, name FROM damaged WHERE kind = ?", (kind,))
        self._known: set[tuple[str, str]] = set(rows)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """The key and the name of each, by name."""
        return iter(sorted(self._known, key=lambda row: row[::-1]))

    def keep(self, key: str, name: str, document: bytes) -> None:
        """Put one aside. Raises HostLimit."""
        self._db.execute(
            "INSERT OR REPLACE INTO damaged (kind, key, name, doc) VALUES (?, ?, ?, ?)",
            (self._kind, key, name, document),
        )
        self._known.add((key, name))

    def forget(self, key: str, name: str) -> None:
        """It is mended, or nobody misses it; does nothing for what is not there. Raises HostLimit."""
        if (key, name) in self._known:
            self._db.execute("DELETE FROM damaged WHERE kind = ? AND key = ? AND name = ?", (self._kind, key, name))
            self._known.discard((key, name))
