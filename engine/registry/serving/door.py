"""The registries that this engine serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dosirak.engine.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from dosirak.engine.content import Store
    from dosirak.engine.images import Images
    from dosirak.engine.registry.serving.listener import Listener
    from dosirak.engine.registry.serving.model import Served, Wanted


class Serving:
    """Starts and stops them. They live as long as the service, which stays while there is one."""

    def __init__(self, images: Images, store: Store) -> None:
        self._images = images
        self._store = store
        self._listeners: dict[str, Listener] = {}

    @property
    def active(self) -> bool:
        """Whether one is served."""
        return bool(self._listeners)

    def list(self) -> list[Served]:
        """What is served, by address."""
        return [self._listeners[address].served for address in sorted(self._listeners)]

    async def start(self, wanted: Wanted) -> Served:
        """Serves a registry. Raises InvalidRequest, Conflict when its port is taken."""
        if bool(wanted.user) != bool(wanted.password):
            raise InvalidRequest("a registry with a login needs both a user's name and a password")
        if wanted.htpasswd and wanted.user:
            raise InvalidRequest("a registry lets in one user or those of an htpasswd file, not both")
        # Imported here: most engines never serve one.
        from dosirak.engine.registry.serving.listener import listen

        listener = await listen(wanted, self._images, self._store)
        self._listeners[listener.served.address] = listener
        return listener.served

    async def stop(self, address: str) -> None:
        """Ends one. Raises NotFound."""
        listener = self._listeners.pop(address, None)
        if listener is None:
            raise NotFound(f"no registry is served at {address}")
        await listener.close()

    async def close(self) -> None:
        """Ends all."""
        for address in [*self._listeners]:
            await self.stop(address)
