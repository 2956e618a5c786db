"""The unpacked layers under `<data>/layers`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from dosirak.engine.content import Store
from dosirak.engine.layers.model import LayerInfo, Unpacked


class Pending:
    """An adopted directory: usable as a lower directory at once, its digest still being made.

    `path` stays valid as long as the service runs, also when the layer has moved to its final place.
    """

    path: Path

    async def diff(self) -> LayerInfo:
        """Waits for tar and digest; the layer is then in the store and in `Layers` under its diff ID.

        Raises HostLimit when the disk is full. Cancelling the wait does not cancel the work.
        """
        raise NotImplementedError


class Layers:
    """Unpacked layers, one directory a diff ID."""

    def __init__(self, path: Path, store: Store) -> None:
        self.root = path
        self._store = store

    def path(self, diff_id: str) -> Path:
        """The overlay lower directory of this layer (whether it is there or not)."""
        raise NotImplementedError

    def has(self, diff_id: str) -> bool:
        """Whether the layer lies unpacked."""
        raise NotImplementedError

    def size(self, diff_id: str) -> int:
        """Bytes the layer's files take, unpacked. Raises NotFound."""
        raise NotImplementedError

    async def unpack(self, source: BinaryIO | Path, diff_id: str | None = None) -> Unpacked:
        """Unpacks a layer tar (compressed or not); with `diff_id` it must turn out to be that one.

        Raises CorruptArchive (InvalidRequest), HostLimit; nothing is left then.
        """
        raise NotImplementedError

    def adopt(self, upper: Path) -> Pending:
        """Makes an overlay upper directory a layer, by rename: `upper` is gone after the call. Needs a running loop."""
        raise NotImplementedError

    async def pack(self, directory: Path) -> LayerInfo:
        """A diff directory's tar into the store; the directory stays what and where it is (`commit`)."""
        raise NotImplementedError

    async def remove(self, diff_id: str) -> None:
        """Removes the unpacked layer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Waits for the layers still being digested."""
        raise NotImplementedError
