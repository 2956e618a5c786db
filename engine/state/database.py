"""The state database: SQLite in WAL mode, one connection, used from the event loop's thread only.

WAL with synchronous=NORMAL never syncs on commit, only at checkpoints: a commit costs some 30 µs and survives a killed
service whole; a power cut may lose the last commits but never tears one (SQLite's manual, PRAGMA synchronous).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dosirak.engine.errors import HostLimit

VERSION = 1
_SCHEMA = Path(__file__).with_name("schema.sql")


class Database:
    """One open state database; several statements become one commit in `transaction()`.

    Parameters: `path` of the file, made with its tables when missing (its folder must exist). Raises HostLimit when it
    can't be opened, or was written by a newer Dosirak.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        try:
            # cached_statements: every statement of the hot path stays compiled.
            self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
            self._open()
        except sqlite3.Error as error:
            raise HostLimit(f"state database {path}: {error}") from error

    def _open(self) -> None:
        connection = self._connection
        # A predecessor that is being killed may hold the lock for a moment.
        connection.execute("PRAGMA busy_timeout = 2000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise HostLimit(
                f"state database {self._path}: written by a newer Dosirak (version {version}, this one"
                f" reads {VERSION}); upgrade, or use another root"
            )
        connection.executescript(_SCHEMA.read_text())
        if version < VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def execute(self, sql: str, params: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement; outside `transaction()` it is a commit of its own.

        Raises sqlite3.IntegrityError (a key is taken) as it is, HostLimit for anything else (disk full, I/O error).
        """
        try:
            return self._connection.execute(sql, params)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise HostLimit(f"state database {self._path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside become one commit, or none if the block raises. May be nested; no await inside."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        self.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise
        finally:
            self._depth = 0

    def close(self) -> None:
        """Close the connection; the WAL is folded into the file."""
        self._connection.close()
