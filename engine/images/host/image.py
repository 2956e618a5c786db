"""`dosirak/host:latest`: made when somebody asks for it, made anew when this machine's files have changed."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from dosirak.engine.content.disk import host_limits
from dosirak.engine.errors import Conflict
from dosirak.engine.images import platforms, times
from dosirak.engine.images.catalog import Catalog
from dosirak.engine.images.config import History, ImageConfig, RunConfig
from dosirak.engine.images.host import contents, writing
from dosirak.engine.images.host.tree import Tree
from dosirak.engine.images.model import Image, Removed
from dosirak.engine.layers import LayerInfo, Layers
from dosirak.engine.layers.threads import in_thread

NAME = "docker.io/dosirak/host:latest"
_SPELLINGS = frozenset({"dosirak/host", "dosirak/host:latest", "docker.io/dosirak/host", NAME})
_FINGERPRINT = "dosirak.host.fingerprint"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Remove(Protocol):
    def __call__(self, name: str, *, force: bool = False) -> Awaitable[builtins.list[Removed]]: ...


class HostImage:
    """Keeps the image fresh: looked at once a service, and whenever it is not there."""

    def __init__(
        self,
        layers: Layers,
        catalog: Catalog,
        commit: Callable[[ImageConfig, Sequence[LayerInfo], Sequence[str]], Awaitable[Image]],
        remove: _Remove,
    ) -> None:
        self._layers = layers
        self._catalog = catalog
        self._commit = commit
        self._remove = remove
        self._fresh = ""
        self._making = asyncio.Lock()

    def is_meant(self, name: str) -> bool:
        """Whether the name is this image's."""
        return name in _SPELLINGS

    async def ensure(self) -> Image:
        """The image, made now if need be: a second or two. Raises HostLimit."""
        if image := self._present():
            return image
        async with self._making:
            if image := self._present():
                return image
            tree = await in_thread(contents.choose)
            fingerprint = tree.fingerprint()
            view = self._catalog.view()
            before = view.images.get(view.names.get(NAME, ""))
            if before is not None and (before.config.config.labels or {}).get(_FINGERPRINT) == fingerprint:
                self._fresh = before.id
                return before
            made = await self._make(tree, fingerprint)
            if before is not None:
                await self._forget(before)
            self._fresh = made.id
            return made

    def _present(self) -> Image | None:
        view = self._catalog.view()
        id = view.names.get(NAME)
        # A name that somebody else gave (tag, load) is theirs; so is the image then.
        return view.images[id] if id is not None and (id == self._fresh or self._is_foreign(view.images[id])) else None

    @staticmethod
    def _is_foreign(image: Image) -> bool:
        return _FINGERPRINT not in (image.config.config.labels or {})

    async def _make(self, tree: Tree, fingerprint: str) -> Image:
        with self._layers.staging() as staging:
            root = staging / "diff"
            await in_thread(_write, tree, root)
            layer = await self._layers.adopt(root).diff()
        return await self._commit(_config(tree, fingerprint), [layer], [NAME])

    async def _forget(self, image: Image) -> None:
        """What it was before has no name now; it goes unless containers stand on it."""
        try:
            await self._remove(image.id)
        except Conflict:
            pass


def _write(tree: Tree, root: Path) -> None:
    with host_limits("making dosirak/host"):
        root.mkdir()
        root.chmod(0o755)
        writing.write(tree, root)


def _config(tree: Tree, fingerprint: str) -> ImageConfig:
    created = times.now()
    platform = platforms.host()
    made_of = contents.host_release().get("PRETTY_NAME", "this machine")
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        created=created,
        config=RunConfig(
            env=[_PATH, "LANG=C.UTF-8"],
            cmd=["bash" if contents.has_command(tree, "bash") else "sh"],
            labels={_FINGERPRINT: fingerprint},
        ),
        history=[History(created=created, created_by=f"dosirak host: {len(tree.nodes)} files of {made_of}")],
    )
