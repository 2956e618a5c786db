"""Records of finished steps, kept in the state database under their states (see `states`)."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from dosirak.engine.layers import LayerInfo
from dosirak.engine.state import Database

_USED = """
    UPDATE build_cache SET used_at = ?,
        value = json_set(CAST(value AS TEXT), '$.uses', coalesce(json_extract(CAST(value AS TEXT), '$.uses'), 1) + 1)
    WHERE key = ?
"""


class Record(msgspec.Struct, frozen=True):
    """A finished step: the state it led to, its layer (None: it changed nothing), when (unix time, nanoseconds).

    `description`: what was done, for people. `uses`: how many builds it was of use to, the one that made it included.
    """

    state: str
    layer: LayerInfo | None
    created_ns: int
    description: str = ""
    uses: int = 1


class StepCache:
    """Records by key, in table `build_cache`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: set[str] = set()
        self.held: set[str] = set()
        """Keys that builds have found or recorded since none was under way: they stay."""
        self._decoder = msgspec.json.Decoder(Record)

    def get(self, key: str) -> Record | None:
        """The record of a finished step, or None."""
        row = self._database.execute("SELECT value FROM build_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._used.add(key)
        try:
            record = self._decoder.decode(row[0])
        except msgspec.ValidationError:  # written by another version
            return None
        self.held.add(key)
        return record

    def put(self, keys: Iterable[str], record: Record) -> None:
        """Records a finished step under each of its keys."""
        value, now = msgspec.json.encode(record), time.time()
        keys = tuple(keys)
        self.held.update(keys)
        with self._database.transaction():
            for key in keys:
                self._database.execute(
                    "INSERT INTO build_cache (key, value, used_at) VALUES (?, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, used_at = excluded.used_at",
                    (key, value, now),
                )

    def touch(self) -> None:
        """Writes down, in one commit, that what was found since the last call has been of use."""
        used, self._used = self._used, set()
        now = time.time()
        with self._database.transaction():
            for key in used:
                self._database.execute(_USED, (now, key))

    def entries(self) -> list[tuple[str, Record | None, float]]:
        """All keys with their records (None: another version's) and when they were last of use (unix seconds)."""
        found: list[tuple[str, Record | None, float]] = []
        for key, value, used_at in self._database.execute("SELECT key, value, used_at FROM build_cache"):
            try:
                found.append((key, self._decoder.decode(value), used_at))
            except msgspec.ValidationError:
                found.append((key, None, used_at))
        return found

    def forget_all(self, keys: Iterable[str]) -> None:
        """Removes records, in one commit."""
        with self._database.transaction():
            for key in keys:
                self.forget(key)

    def forget(self, key: str) -> None:
        """Removes a record whose layer is gone."""
        self._database.execute("DELETE FROM build_cache WHERE key = ?", (key,))

    def digests(self) -> list[str]:
        """The diff IDs and blobs that records refer to: they must stay, whether an image names them or not."""
        kept = []
        for (value,) in self._database.execute("SELECT value FROM build_cache"):
            try:
                layer = self._decoder.decode(value).layer
            except msgspec.ValidationError:
                continue
            if layer is not None:
                kept += [layer.diff_id, layer.descriptor.digest]
        return kept
