"""The images of the store: found, made, named, removed."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence

from dosirak.engine.content import Index, Store
from dosirak.engine.images.config import ImageConfig
from dosirak.engine.images.model import HistoryItem, Image, Removed, Usage
from dosirak.engine.layers import LayerInfo, Layers
from dosirak.engine.state.filters import Filters


class Images:
    """All images of an engine. Methods run on the event loop; blocking work goes to threads.

    The service sets `in_use` (image id → the containers made from it) and appends to `keepers`: functions that return
    digests (diff IDs, blobs) which must stay though no image names them: layers of containers whose image was
    force-removed, layers of the build cache.
    """

    in_use: Callable[[str], Sequence[Usage]]
    keepers: builtins.list[Callable[[], Iterable[str]]]

    def __init__(self, store: Store, index: Index, layers: Layers) -> None:
        self._store = store
        self._index = index
        self._layers = layers

    async def resolve(self, name: str) -> Image:
        """The image of this name ("ubuntu", "repo:tag", "repo@sha256:…"), id or beginning of an id.

        Raises NotFound "No such image: ubuntu:latest"; InvalidRequest for an ambiguous or malformed one.
        """
        raise NotImplementedError

    def list(self, filters: Filters | None = None) -> builtins.list[Image]:
        """All images, the newest first; filters: dangling, label, before, since, until, reference."""
        raise NotImplementedError

    async def commit(self, config: ImageConfig, layers: Sequence[LayerInfo], names: Sequence[str] = ()) -> Image:
        """Makes an image of a config and its layers, the lowest first (`config.rootfs` is set from them), and names it."""
        raise NotImplementedError

    async def layer_infos(self, image: Image) -> builtins.list[LayerInfo]:
        """The image's layers as `commit` takes them, for an image that builds on it."""
        raise NotImplementedError

    async def tag(self, source: str, name: str) -> None:
        """Gives an image another name. Raises NotFound, InvalidRequest."""
        raise NotImplementedError

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> builtins.list[Removed]:
        """Removes a name, and the image with its last one. Raises NotFound, Conflict in Docker's words."""
        raise NotImplementedError

    def load(self, stream: AsyncIterable[bytes]) -> AsyncIterator[str]:
        """Loads a docker or OCI archive (plain, gzip, zstd…); yields Docker's lines ("Loaded image: busybox:latest\\n")."""
        raise NotImplementedError

    async def import_(
        self, stream: AsyncIterable[bytes], name: str = "", changes: Sequence[str] = (), message: str = ""
    ) -> Image:
        """Makes an image of a root filesystem's tar; `changes` are Dockerfile instructions ("CMD sh")."""
        raise NotImplementedError

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """One archive of these images, as docker and OCI both read it."""
        raise NotImplementedError

    async def lower_dirs(self, image: Image) -> builtins.list[str]:
        """The overlay lower directories, the topmost first; layers not unpacked yet are unpacked now."""
        raise NotImplementedError

    def history(self, image: Image) -> builtins.list[HistoryItem]:
        """`docker history`, the newest first."""
        raise NotImplementedError
