"""What must stay, and what may go: blobs and layers that no image, no keeper and no work under way needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from dosirak.engine.content import Store
from dosirak.engine.images.catalog import Catalog
from dosirak.engine.layers import Layers
from dosirak.engine.layers.threads import in_thread


class Keeping:
    """The one judge of what is garbage. Digests here are diff IDs, blobs' and images' alike.

    `changing` is held while index.json is changed by what was read from it, and while garbage is looked for.
    """

    def __init__(self, catalog: Catalog, store: Store, layers: Layers) -> None:
        self.keepers: list[Callable[[], Iterable[str]]] = []
        self.changing = asyncio.Lock()
        self._catalog = catalog
        self._store = store
        self._layers = layers
        self._held: list[set[str]] = []

    @contextmanager
    def hold(self, digests: set[str]) -> Iterator[None]:
        """Inside, these digests stay, and those that are added to the set meanwhile (by any thread)."""
        self._held.append(digests)
        try:
            yield
        finally:
            self._held = [held for held in self._held if held is not digests]

    @asynccontextmanager
    async def making(self, digests: set[str]) -> AsyncIterator[set[str]]:
        """As `hold`; and if it fails, what nothing needs of them goes. Not to be entered with `changing` held."""
        try:
            with ExitStack() as stack:
                async with self.changing:
                    # Not in the midst of a removal: what is seen to be there from now on stays.
                    stack.enter_context(self.hold(digests))
                yield digests
        except BaseException:
            async with self.changing:
                await self.discard(digests)
            raise

    async def discard(self, digests: Iterable[str]) -> set[str]:
        """Deletes those of the digests that nothing needs any more; returns them. With `changing` held."""
        gone = set(digests) - self._needed()
        for digest in gone:
            await in_thread(self._store.delete, digest)
            await self._layers.remove(digest)
        return gone

    async def collect(self) -> list[str]:
        """Deletes the blobs and layers that nothing needs; returns their digests."""
        async with self.changing:
            if not self._catalog.view().whole:
                # An entry that can't be read may need anything.
                return []
            needed = self._needed()
            return await in_thread(self._store.collect, needed) + self._layers.collect(needed)

    def _needed(self) -> set[str]:
        kept = (digest for keeper in self.keepers for digest in keeper())
        return {*self._catalog.view().needed(), *kept}.union(*self._held)
