"""The state database: SQLite in WAL mode, one connection, used from the event loop's thread only.

WAL with synchronous=NORMAL never syncs on commit, only at checkpoints: a commit costs some 30 µs and survives a killed
service whole; a power cut may lose the last commits but never tears one (SQLite's manual, PRAGMA synchronous).

A full disk must not keep the engine from recording what ends and what it removes, so a small file beside the database
holds some space in reserve, given up to updates and removals when SQLite runs out of it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dosirak.engine.errors import HostLimit

VERSION = 1
_RESERVE = 256 << 10
"""Bytes kept for the database on a full disk: some dozens of commits."""
_RESERVE_AGAIN = 5.0
"""Seconds after which a reserve that was given up is asked for again."""
Statements = Sequence[tuple[str, Sequence[Any]]]
_SCHEMA = Path(__file__).with_name("schema.sql")


class Database:
    """One open state database; several statements become one commit in `transaction()`.

    Parameters: `path` of the file, made with its tables when missing (its folder must exist). Raises HostLimit when it
    can't be opened, or was written by a newer Dosirak.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._said: list[tuple[str, Sequence[Any]]] = []  # the statements of the open transaction
        self._reserve = Path(f"{path}.reserve")
        self._reserve_at = 0.0
        try:
            # cached_statements: every statement of the hot path stays compiled.
            self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
            self._open()
        except sqlite3.Error as error:
            raise self._limit(error) from error
        self._keep_reserve()

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
        if self._reserve_at and time.monotonic() > self._reserve_at:
            self._keep_reserve()
        if self._depth:
            self._said.append((sql, params))
        try:
            return self._connection.execute(sql, params)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            if not self._depth and self._make_room(error, ((sql, params),)):
                return self._again(((sql, params),))
            raise self._limit(error) from error

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # SQLite has rolled back by now; nobody else writes, so the same statements do the same once more.
            if not self._make_room(error, self._said):
                raise self._limit(error) from error
            self._again((("BEGIN IMMEDIATE", ()), *self._said, ("COMMIT", ())))

    def _again(self, statements: Statements) -> sqlite3.Cursor:
        """Once more, on the space set free."""
        try:
            done = [self._connection.execute(sql, params) for sql, params in statements][-1]
        except sqlite3.Error as error:
            raise self._limit(error) from error
        self._keep_reserve()
        return done

    def _keep_reserve(self) -> None:
        """Take hold of the reserve; later again where there is no room now."""
        try:
            fd = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(fd, 0, _RESERVE)
            finally:
                os.close(fd)
            self._reserve_at = 0.0
        except OSError:
            self._reserve_at = time.monotonic() + _RESERVE_AGAIN

    def _make_room(self, error: sqlite3.Error, statements: Statements) -> bool:
        """Whether `error` is a full disk, and there was room to be made.

        What adds rows gets none: else there would be none left to remove them again.
        """
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL or any(sql.startswith("INSERT") for sql, _ in statements):
            return False
        with contextlib.suppress(OSError):
            os.truncate(self._reserve, 0)
        self._reserve_at = time.monotonic() + _RESERVE_AGAIN
        if self._connection.in_transaction:
            self._connection.rollback()
        with contextlib.suppress(sqlite3.Error):
            # The next commits overwrite the log from its beginning, in the blocks it has, instead of adding to it.
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        return True

    def _limit(self, error: sqlite3.Error) -> HostLimit:
        full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
        return HostLimit(f"state database {self._path}: {'no space left on device' if full else error}")

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
        self._said.clear()
        try:
            yield
            self._commit()
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise
        finally:
            self._depth = 0

    def close(self) -> None:
        """Close the connection; the WAL is folded into the file."""
        self._connection.close()
