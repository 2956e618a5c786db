"""`index.json`: which manifests the store holds, and under which names."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from dosirak.engine.content import media_types
from dosirak.engine.content.disk import replace_file
from dosirak.engine.content.model import Descriptor
from dosirak.engine.errors import HostLimit

NAME = "org.opencontainers.image.ref.name"

Stamp = tuple[int, int, int]
"""What changes when the file is replaced: inode, modification time (ns), size."""

Entries = tuple[Descriptor, ...]


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int = 2
    media_type: str = media_types.INDEX
    manifests: list[Descriptor] = msgspec.field(default_factory=list)


class Index:
    """The index of an OCI image layout. Names are full references ("docker.io/library/ubuntu:22.04").

    A manifest may have several names (one entry each) or none (an entry without a name: a dangling image). Every
    method may run in any thread; those that write block for an fsync. What another program writes into the
    layout (`skopeo copy … oci:`) is seen at the next call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path / "index.json"
        self._temporary = path / "tmp"
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._entries: Entries = ()

    def entries(self) -> tuple[Stamp | None, Entries]:
        """What the file says now, and a stamp that differs when it says something else.

        Raises HostLimit when the file is no index (never repaired by guessing: it names all images).
        """
        with self._lock:
            return self._read()

    def names(self) -> dict[str, Descriptor]:
        """Every name and the manifest (or index) it stands for."""
        return {name: entry for entry in self.entries()[1] if (name := name_of(entry))}

    def manifests(self) -> list[Descriptor]:
        """Every manifest once, named or not."""
        return list({entry.digest: _unnamed(entry) for entry in self.entries()[1]}.values())

    def set(self, name: str, descriptor: Descriptor) -> None:
        """Gives the manifest a name. A manifest that loses its last name to it stays, nameless."""
        self.update({name: descriptor})

    def update(self, names: Mapping[str, Descriptor], unnamed: Iterable[Descriptor] = ()) -> None:
        """Gives several manifests names, and records others without one, in one atomic step."""

        def change(entries: Entries) -> list[Descriptor]:
            made = [_named(descriptor, name) for name, descriptor in names.items()]
            kept = [entry for entry in entries if name_of(entry) not in names]
            return [*kept, *made, *map(_unnamed, entries), *map(_unnamed, unnamed)]

        self._change(change)

    def add(self, descriptor: Descriptor) -> None:
        """Records a manifest without a name, if it is not there yet."""
        self.update({}, [descriptor])

    def remove(self, names: Iterable[str]) -> None:
        """Takes names away; a manifest stays, nameless if it has lost its last."""
        gone = set(names)

        def change(entries: Entries) -> list[Descriptor]:
            return [_unnamed(entry) if name_of(entry) in gone else entry for entry in entries]

        self._change(change)

    def drop(self, digests: Iterable[str]) -> None:
        """Takes these manifests out, with all their names."""
        gone = set(digests)
        self._change(lambda entries: [entry for entry in entries if entry.digest not in gone])

    def _change(self, change: Callable[[Entries], list[Descriptor]]) -> None:
        with self._lock:
            _, before = self._read()
            after = _tidy(change(before))
            if after == before and self._stamp is not None:
                return
            data = msgspec.json.format(msgspec.json.encode(_Document(manifests=list(after))), indent=2)
            replace_file(self._path, data, self._temporary / f"index-{os.urandom(4).hex()}")

    def _read(self) -> tuple[Stamp | None, Entries]:
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                document = msgspec.json.decode(self._path.read_bytes(), type=_Document)
                self._stamp, self._entries = stamp, tuple(document.manifests)
        except FileNotFoundError:
            self._stamp, self._entries = None, ()
        except (msgspec.MsgspecError, OSError) as error:
            raise HostLimit(f"{self._path}: not readable as an OCI image index: {error}") from error
        return self._stamp, self._entries


def name_of(entry: Descriptor) -> str:
    """The name an entry of the index carries, "" if none."""
    return (entry.annotations or {}).get(NAME, "")


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    return msgspec.structs.replace(descriptor, annotations={**(descriptor.annotations or {}), NAME: name})


def _unnamed(descriptor: Descriptor) -> Descriptor:
    if not name_of(descriptor):
        return descriptor
    others = {key: value for key, value in (descriptor.annotations or {}).items() if key != NAME}
    return msgspec.structs.replace(descriptor, annotations=others or None)


def _tidy(entries: Sequence[Descriptor]) -> Entries:
    """One entry a name (the last wins), and one without a name for a manifest that has none."""
    named = {name: entry for entry in entries if (name := name_of(entry))}
    have = {entry.digest for entry in named.values()}
    bare = {entry.digest: entry for entry in entries if not name_of(entry) and entry.digest not in have}
    return (*named.values(), *bare.values())
