"""The unpacked layers under `<data>/layers`.

<hex>/diff          the overlay lower directory of the layer with this diff ID
<hex>/layer.json    the bytes its files take
pending/<token>/…   an adopted directory whose diff ID is still being made; then a symlink to ../<hex>
tmp/<token>/…       being unpacked, or being removed
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Container, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from dosirak.engine.content import Descriptor, Store, media_types
from dosirak.engine.content.digests import hex_part
from dosirak.engine.content.disk import host_limits
from dosirak.engine.content.placement import spread_below
from dosirak.engine.errors import EngineError, NotFound
from dosirak.engine.layers.ahead import Ahead
from dosirak.engine.layers.compression import decompressed
from dosirak.engine.layers.digesting import DigestingReader, drain
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.extract import extract
from dosirak.engine.layers.model import LayerInfo, Unpacked
from dosirak.engine.layers.pack import Hidden, Packer, nothing_hidden
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.runtime.syscalls import AT_FDCWD, renameat2

_RENAME_EXCHANGE = 2

Result = TypeVar("Result")


class _Record(msgspec.Struct):
    """layer.json"""

    size: int


class Pending:
    """An adopted directory: usable as a lower directory at once, its digest still being made.

    `path` stays valid until `Layers.close`, also when the layer has moved to its final place.
    """

    def __init__(self, path: Path, work: asyncio.Task[LayerInfo]) -> None:
        self.path = path
        self._work = work

    async def diff(self) -> LayerInfo:
        """Waits for tar and digest; the layer is then in the store, and in `Layers` under its diff ID.

        Raises HostLimit when the disk is full. Cancelling the wait does not cancel the work.
        """
        return await asyncio.shield(self._work)


class Layers:
    """Unpacked layers, one directory a diff ID. Used from one event loop; blocking work goes to threads."""

    def __init__(self, path: Path, store: Store) -> None:
        self.root = path
        self._store = store
        self._pending = path / "pending"
        self._temporary = path / "tmp"
        self._sizes: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # Held while a layer is put in its place, by whichever thread made it.
        self._placing = threading.Lock()
        self._working: set[asyncio.Task[Any]] = set()
        with host_limits("preparing the layers' directory"):
            # Closed to other users: layers hold setuid files of other systems (CVE-2021-41091).
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._pending.mkdir(exist_ok=True)
            self._temporary.mkdir(exist_ok=True)
            # Layers are unpacked below it, then renamed.
            spread_below(self._temporary)

    def path(self, diff_id: str) -> Path:
        """The overlay lower directory of this layer (whether it is there or not). Raises InvalidRequest."""
        return self.root / hex_part(diff_id) / "diff"

    def has(self, diff_id: str) -> bool:
        """Whether the layer lies unpacked."""
        return self.path(diff_id).exists()

    def size(self, diff_id: str) -> int:
        """Bytes the layer's files take, unpacked. Raises NotFound."""
        known = self._sizes.get(diff_id)
        if known is None:
            try:
                record = (self.path(diff_id).parent / "layer.json").read_bytes()
            except FileNotFoundError as error:
                raise NotFound(f"no such layer: {diff_id}") from error
            known = self._sizes[diff_id] = msgspec.json.decode(record, type=_Record).size
        return known

    def diff_ids(self) -> Iterator[str]:
        """Every layer that lies unpacked."""
        for path in self.root.iterdir():
            if len(path.name) == 64 and self.has(f"sha256:{path.name}"):
                yield f"sha256:{path.name}"

    async def unpack(self, source: BinaryIO | Path, diff_id: str | None = None) -> Unpacked:
        """Unpacks a layer tar (compressed or not); with `diff_id` it must turn out to be that one.

        Raises CorruptArchive (InvalidRequest), HostLimit; nothing is left then.
        """
        if isinstance(source, Path):
            with source.open("rb") as file:
                return await in_thread(self.unpack_blocking, file, diff_id)
        return await in_thread(self.unpack_blocking, source, diff_id)

    async def ensure(self, diff_id: str, blob: Descriptor) -> None:
        """Unpacks the layer from its blob unless it lies unpacked. Raises NotFound, CorruptArchive, HostLimit."""
        if self.has(diff_id):
            return
        async with self._locks.setdefault(diff_id, asyncio.Lock()):
            if not self.has(diff_id):
                with self._store.open(blob.digest) as file:
                    await in_thread(self.unpack_blocking, file, diff_id)
        self._locks.pop(diff_id, None)

    def unpack_blocking(self, source: BinaryIO, diff_id: str | None = None) -> Unpacked:
        """As `unpack`, in the calling thread; reads the stream to its end."""
        with self.staging() as staging:
            diff = staging / "diff"
            with host_limits("unpacking a layer"):
                diff.mkdir()
                # mkdir's mode is cut by the umask.
                diff.chmod(0o755)
                root_fd = os.open(diff, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                digesting = DigestingReader(decompressed(source))
                with Ahead(digesting) as ahead:
                    stream = io.BufferedReader(ahead, 1 << 18)
                    size = extract(stream, root_fd, whiteouts=True).size
                    drain(stream)
            finally:
                os.close(root_fd)
            if diff_id is not None and digesting.digest != diff_id:
                raise CorruptArchive(f"layer digest mismatch: expected diff ID {diff_id}, got {digesting.digest}")
            self._settle(staging, digesting.digest, size)
            return Unpacked(digesting.digest, size)

    def adopt(self, upper: Path) -> Pending:
        """Makes an overlay upper directory a layer, by rename: `upper` is gone after the call. Needs a running loop.

        The directory must be on the same filesystem, and nothing may write to it any more.
        """
        place = self._pending / os.urandom(8).hex()
        with host_limits("adopting a layer"):
            place.mkdir(mode=0o700)
            upper.rename(place / "diff")
        return Pending(place / "diff", self._start(asyncio.to_thread(self._finish, place)))

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Work that `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._worked)
        return task

    def _worked(self, work: asyncio.Task[Any]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            # Whoever adopted may never ask (a build that failed elsewhere): not a case for the loop's warnings.
            work.exception()

    def _finish(self, place: Path) -> LayerInfo:
        info = self.pack_blocking(place / "diff")
        with host_limits("adopting a layer"):
            self._record(place, info.size)
            with self._placing:
                # An equal layer may be there already; this one may be mounted by now, so it stays until close().
                if not self.has(info.diff_id):
                    final = self.root / hex_part(info.diff_id)
                    # In one step the layer gets to its place, and a symlink to it where it was.
                    final.symlink_to(Path("..") / final.name)
                    renameat2(AT_FDCWD, str(place), AT_FDCWD, str(final), _RENAME_EXCHANGE)
        return info

    async def pack(self, directory: Path, hidden: Hidden = nothing_hidden, made: set[str] | None = None) -> LayerInfo:
        """A diff directory's tar into the store; the directory stays what and where it is (`commit`).

        Parameters: `hidden`: what stays out; `made` gets the digest before it is there to be collected. Raises
        HostLimit; OSError when the directory can't be read.
        """
        return await in_thread(self.pack_blocking, directory, hidden, made)

    def pack_blocking(
        self, directory: Path, hidden: Hidden = nothing_hidden, made: set[str] | None = None
    ) -> LayerInfo:
        """As `pack`, in the calling thread."""
        with host_limits("packing a layer"), self._store.writer() as blob:
            root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                room = os.statvfs(self.root)
                packer = Packer(root_fd, as_layer=True, room=room.f_bavail * room.f_frsize, hidden=hidden)
                for piece in packer:
                    blob.write(piece)
            finally:
                os.close(root_fd)
            if made is not None:
                made.add(blob.digest)
            # Stored uncompressed: one digest serves as diff ID and as the blob's; a push compresses on its way.
            descriptor = blob.commit(media_types.LAYER)
        return LayerInfo(descriptor.digest, descriptor, packer.size)

    async def remove(self, diff_id: str) -> None:
        """Removes the unpacked layer: out of sight at once, from the disk when this returns."""
        for doomed in self._hide([diff_id]):
            await in_thread(remove_tree, doomed)

    def collect(self, reachable: Container[str]) -> list[str]:
        """Removes the layers that are not in `reachable`; returns their diff IDs. Not while one is being made.

        They are out of sight at once; the disk gets its room in the background.
        """
        garbage = [diff_id for diff_id in self.diff_ids() if diff_id not in reachable]
        self._remove_later(self._hide(garbage))
        return garbage

    def sweep(self) -> None:
        """Removes what a killed service left half-made, in the background. Only at the service's start."""
        doomed = [path for directory in (self._temporary, self._pending) for path in directory.iterdir()]
        doomed += [path for path in self.root.iterdir() if path.is_symlink()]
        # After a power failure a layer may be there without its last bytes: its blob can make it again.
        doomed += self._hide(diff_id for diff_id in self.diff_ids() if not self._is_sound(diff_id))
        self._remove_later(doomed)

    async def close(self) -> None:
        """Waits for the layers still being digested or removed; adopted paths are not valid any more."""
        if self._working:
            await asyncio.wait(self._working)
        for path in self._pending.iterdir():
            await in_thread(remove_tree, path)

    def _hide(self, diff_ids: Iterable[str]) -> list[Path]:
        """Takes layers out of their places; returns where they are now, to be removed."""
        hidden = []
        for diff_id in diff_ids:
            doomed = self._temporary / os.urandom(8).hex()
            self._sizes.pop(diff_id, None)
            with suppress(FileNotFoundError):
                self.path(diff_id).parent.rename(doomed)
                hidden.append(doomed)
        return hidden

    def _remove_later(self, paths: Sequence[Path]) -> None:
        if paths:
            self._start(asyncio.to_thread(_remove_all, paths))

    def _is_sound(self, diff_id: str) -> bool:
        try:
            return self.size(diff_id) >= 0
        except (EngineError, msgspec.MsgspecError):
            return False

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty directory on the layers' filesystem, to make something in that `adopt` then takes. Removed after.

        Raises HostLimit.
        """
        staging = self._temporary / os.urandom(8).hex()
        with host_limits("unpacking a layer"):
            staging.mkdir(mode=0o700)
        try:
            yield staging
        finally:
            with suppress(OSError):
                remove_tree(staging)

    def _settle(self, staging: Path, diff_id: str, size: int) -> None:
        with host_limits("unpacking a layer"):
            self._record(staging, size)
            with self._placing:
                if not self.has(diff_id):
                    staging.rename(self.root / hex_part(diff_id))

    @staticmethod
    def _record(directory: Path, size: int) -> None:
        (directory / "layer.json").write_bytes(msgspec.json.encode(_Record(size)))


def _remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        remove_tree(path)
