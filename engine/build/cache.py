"""The step cache: what a step's work is called, and what came of it, kept in the state database.

A *state* names a file system by how it was made: 64 hex digits, a digest of the work done and of the states and file
contents it was done on, times left out. Equal states mean equal work, so a state is the cache's key.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import msgspec

from dosirak.engine.build.graph import CopyFiles, Execute, MakeDirectory
from dosirak.engine.layers import LayerInfo
from dosirak.engine.state import Database


class Record(msgspec.Struct, frozen=True):
    """A finished step: the state it led to, its layer (None: it changed nothing), when (unix time, nanoseconds)."""

    state: str
    layer: LayerInfo | None
    created_ns: int


def digest(*parts: object) -> str:
    """One name for a sequence of texts, numbers and tuples of them."""
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


def base_state(diff_ids: Iterable[str]) -> str:
    """The state of an image's file system: its layers make it, whatever its name."""
    return digest("base", tuple(diff_ids))


def run_state(vertex: Execute, parent: str, mounted: tuple[str, ...], hosts: tuple[str, ...]) -> str:
    """The state after a RUN; `mounted` are the states of what its mounts take, `hosts` its extra hosts."""
    mounts = tuple(mount for mount, _ in vertex.mounts)
    work = (vertex.argv, vertex.env, vertex.cwd, vertex.user, vertex.network, mounts, vertex.script, hosts)
    return digest("run", parent, mounted, work)


def directory_state(vertex: MakeDirectory, parent: str) -> str:
    """The state after a WORKDIR."""
    return digest("mkdir", parent, vertex.path, vertex.user)


def copy_state(vertex: CopyFiles, parent: str, checksum: str) -> str:
    """The state after a COPY of files with that checksum, wherever they came from."""
    return digest("copy", parent, checksum, _copy_work(vertex))


def copy_shortcut(vertex: CopyFiles, parent: str, source: str) -> str:
    """Another key for a COPY out of a file system: by that one's state, so that no file has to be looked at."""
    return digest("copy-from", parent, source, vertex.paths, _copy_work(vertex))


def _copy_work(vertex: CopyFiles) -> tuple[object, ...]:
    rules = (vertex.chown, vertex.chmod, vertex.unpack, vertex.parents, vertex.excludes)
    return (len(vertex.paths), vertex.contents, vertex.destination, rules)


class StepCache:
    """Records by key, in table `build_cache`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: set[str] = set()
        self._decoder = msgspec.json.Decoder(Record)

    def get(self, key: str) -> Record | None:
        """The record of a finished step, or None."""
        row = self._database.execute("SELECT value FROM build_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._used.add(key)
        try:
            return self._decoder.decode(row[0])
        except msgspec.ValidationError:  # written by another version
            return None

    def put(self, keys: Iterable[str], record: Record) -> None:
        """Records a finished step under each of its keys."""
        value, now = msgspec.json.encode(record), time.time()
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
                self._database.execute("UPDATE build_cache SET used_at = ? WHERE key = ?", (now, key))

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
