"""The room's door: `Volumes`, what other rooms ask of volumes."""

from __future__ import annotations

import asyncio
import builtins
import logging
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.content.disk import disk_use
from dosirak.engine.errors import Conflict, HostLimit, InvalidRequest, NotFound, NotSupported
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.state import decode_all
from dosirak.engine.state import filters as match
from dosirak.engine.state.pruning import Once, Pruned, choice
from dosirak.engine.volumes.copyup import copy_up
from dosirak.engine.volumes.model import Volume

if TYPE_CHECKING:
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Database, Events, Filters

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Volume).decode


def check_name(name: str) -> None:
    """Raises InvalidRequest where Docker refuses a volume's name, or a directory could not have it."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are'
            " allowed. If you intended to pass a host directory, use absolute path"
        )
    if len(name) > 255:
        raise InvalidRequest(f'"{name[:40]}…" is too long for a volume name: at most 255 characters')


class Volumes:
    """Every volume of one engine root: a directory <data>/volumes/<name>/_data and a record."""

    def __init__(self, settings: Settings, db: Database, events: Events) -> None:
        self._root = settings.data / "volumes"
        self._root.mkdir(mode=0o710, parents=True, exist_ok=True)
        self._db = db
        self._events = events
        # One filling at a time for each volume: two containers may start on a new one together.
        self._filling: dict[str, asyncio.Lock] = {}
        self._held: Counter[str] = Counter()
        self._pruning = Once()
        read, damaged = decode_all(
            "volume", db.execute("SELECT name, doc FROM volumes"), _decode, "kept with its data, without its labels"
        )
        self._volumes = {volume.name: volume for volume in read}
        self._damaged = frozenset(damaged)
        for name in damaged:
            mountpoint = str(self._root / name / "_data")
            self._volumes[name] = Volume(name=name, mountpoint=mountpoint, created=time.time())

    def get(self, name: str) -> Volume:
        """Raises NotFound "get x: no such volume"."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def warnings(self) -> tuple[str, ...]:
        """The volumes whose records can't be read, for `GET /info`."""
        there = sorted(self._damaged & self._volumes.keys())
        return tuple(
            f"WARNING: Volume {name}: its record is damaged: it has its data, not its labels" for name in there
        )

    def list(self) -> list[Volume]:
        """All volumes, by name."""
        return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        record: bool = True,
    ) -> Volume:
        """The volume of this name, made if it isn't there; without a name an anonymous one.

        Parameters: without `record` a new volume is half made: `record()` it together with what it is for, or the next
        service sweeps it. Raises InvalidRequest for a bad name, NotFound for a driver other than "local", NotSupported
        for driver options, HostLimit.
        """
        if driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        if options:
            raise NotSupported(f"volume {name}: driver options ({', '.join(options)}) are not supported yet")
        if existing := self._volumes.get(name):
            return existing
        anonymous = not name
        if anonymous:
            name = secrets.token_hex(32)
            labels = {"com.docker.volume.anonymous": "", **(labels or {})}
        check_name(name)
        volume = self._make(name, anonymous, dict(labels or {}))
        if record:
            self.record(volume)
        return volume

    def _make(self, name: str, anonymous: bool, labels: dict[str, str]) -> Volume:
        data = self._root / name / "_data"
        # What stands there has no record: a half-made or half-removed volume (the sweeper has not come by yet).
        try:
            data.parent.mkdir(0o711, exist_ok=True)
            data.mkdir(0o755, exist_ok=True)
        except OSError as error:
            raise HostLimit(f"volume {name}: {os.strerror(error.errno or 0).lower()}: {data}") from error
        volume = Volume(name=name, mountpoint=str(data), created=time.time(), anonymous=anonymous, labels=labels)
        self._volumes[name] = volume
        self._events.publish("volume", "create", name, {"driver": "local"})
        return volume

    def record(self, volume: Volume) -> None:
        """Write a new volume's record; a second time changes nothing. Raises HostLimit."""
        self._db.execute("INSERT OR IGNORE INTO volumes (name, doc) VALUES (?, ?)", (volume.name, _encode(volume)))

    async def remove(self, name: str, *, users: Sequence[str] = (), force: bool = False) -> None:
        """Remove a volume and its data.

        Parameters: `users`: ids of the containers that use it; `force`: a missing one is fine. Raises NotFound,
        Conflict "remove x: volume is in use - [id]".
        """
        if name not in self._volumes:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        if users or name in self._held:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self.unrecord(name)
        self.forget(name)
        await self.delete(name)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Inside, the volume stays: a container that will use it is being made, and no record says so yet."""
        self._held[name] += 1
        try:
            yield
        finally:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]

    def is_held(self, name: str) -> bool:
        """Whether somebody holds the volume."""
        return name in self._held

    async def prune(self, wanted: Filters, in_use: Callable[[str], bool]) -> Pruned:
        """Remove the volumes that nobody uses: the anonymous ones, or with the filter `all` every one.

        Parameters: `in_use`: whether a container, running or not, mounts the volume. Raises InvalidRequest, Conflict
        when it is under way already.
        """
        chosen = choice(wanted, ("all", "label", "label!"))
        every = match.boolean(wanted, "all", False)
        removed: builtins.list[str] = []
        reclaimed = 0
        with self._pruning.running():
            for volume in self.list():
                if not (every or volume.anonymous) or not chosen.takes(None, volume.labels):
                    continue
                size = await asyncio.to_thread(disk_use, Path(volume.mountpoint))
                # Asked last: no await between the answer and the removal.
                if self._volumes.get(volume.name) is not volume or volume.name in self._held or in_use(volume.name):
                    continue
                await self.remove(volume.name)
                removed.append(volume.name)
                reclaimed += size
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return Pruned(removed, reclaimed)

    def unrecord(self, name: str) -> None:
        """Remove the record; `forget` and `delete` follow, or the next service sweeps the data. Raises HostLimit."""
        self._db.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def forget(self, name: str) -> None:
        """A volume without a record is no more."""
        if self._volumes.pop(name, None) is not None:
            self._filling.pop(name, None)
            self._events.publish("volume", "destroy", name, {"driver": "local"})

    async def delete(self, name: str) -> None:
        """Delete the data of a volume that has no record any more."""
        await asyncio.to_thread(self._delete, name)

    async def fill(self, name: str, lower: Sequence[str], path: str, *, part: str = "") -> None:
        """Copy-up: what the image has at `path` goes into the volume, if the volume is empty.

        Parameters: `lower`: the image's overlay lower directories, the topmost first; `part`: the directory of the
        volume that is meant, if it is there. Raises HostLimit (disk full).
        """
        volume = self.get(name)
        async with self._filling.setdefault(name, asyncio.Lock()):
            await asyncio.to_thread(copy_up, list(lower), path, volume.mountpoint, part)

    async def sweep(self) -> None:
        """Remove directories that no record names, and records whose directory is gone."""
        on_disk = {entry.name for entry in os.scandir(self._root)}
        for name in on_disk - self._volumes.keys():
            await asyncio.to_thread(self._delete, name)
        for name in self._volumes.keys() - on_disk:
            os.makedirs(self._volumes[name].mountpoint)  # noqa: PTH103 (one mkdir does not block)

    def _delete(self, name: str) -> None:
        try:
            remove_tree(self._root / name)
        except OSError as error:
            _log.warning("volume %s: can't be deleted: %s", name, error)
