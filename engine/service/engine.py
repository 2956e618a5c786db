"""The engine: its rooms, put together, started in order, and let go of in the reverse order."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from dosirak.engine.runtime import cgroups
from dosirak.engine.service import lean
from dosirak.engine.supervision.client import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dosirak.engine.api.rooms import Rooms
    from dosirak.engine.images import RunConfig
    from dosirak.engine.registry import Credentials, Registry
    from dosirak.engine.rootless import Line
    from dosirak.engine.settings import Settings

log = logging.getLogger("dosirak.service")

Made = TypeVar("Made")


class Engine:
    """All rooms of one engine root. `rooms` is there after `start`."""

    rooms: Rooms

    def __init__(self, settings: Settings, keeper: Line | None = None) -> None:
        """Parameters: `keeper`: of the user namespace that this process has entered (`rootless`)."""
        self._settings = settings
        self._keeper = keeper
        self._launcher = Launcher()

    async def start(self) -> None:
        """Bring the engine up: what ran under an earlier service is taken over, what no record names is swept.

        Raises EngineError (a damaged or newer state database, no launcher).
        """
        # The launcher is a process of its own: it starts on the other CPU while the imports below keep this one busy.
        launching = asyncio.create_task(self._launcher.start())
        await asyncio.sleep(0)
        self._compose()
        rooms = self.rooms
        await rooms.images.start()
        await launching
        await rooms.networks.start()
        await rooms.containers.adopt_all()
        await rooms.images.start()
        await rooms.builder.start()
        await rooms.networks.readopt(rooms.containers.network_namespaces())
        await rooms.containers.resume()

    def _compose(self) -> None:
        lean.prepare()
        from dosirak.engine.api.rooms import Rooms
        from dosirak.engine.build import Builder
        from dosirak.engine.containers import Containers
        from dosirak.engine.content import Index, Store
        from dosirak.engine.images import Images
        from dosirak.engine.images.model import Usage
        from dosirak.engine.layers import Layers
        from dosirak.engine.networks import Home, Networks
        from dosirak.engine.state import Database, Events
        from dosirak.engine.volumes import Volumes

        def make_registry() -> Registry:
            from dosirak.engine.registry import Registry

            return Registry(settings.data, images, store, layers)

        settings = self._settings
        self._registry = Once(make_registry)
        self._db = db = Database(settings.data / "state.db")
        events = Events()
        store = Store(settings.data / "content")
        self._layers = layers = Layers(settings.data / "layers", store)
        images = Images(store, Index(settings.data / "content"), layers, events)
        networks = Networks(db, settings, events, Home(self._keeper))
        volumes = Volumes(settings, db, events)
        containers = Containers(settings, db, images, networks, volumes, self._launcher, events)
        images.in_use = lambda image: [Usage(one.id, one.state.running) for one in containers.holding_image(image)]
        images.keepers.append(containers.kept_layers)
        images.apply_changes = _apply_changes
        builder = Builder(images, layers, containers, db, settings)
        builder.fetch = self._fetch
        builder.download = lambda url: self._registry().download(url)
        self.rooms = Rooms(
            settings=settings,
            events=events,
            images=images,
            networks=networks,
            volumes=volumes,
            containers=containers,
            builder=builder,
            registry=self._registry,
        )

    async def _fetch(self, name: str, known: Mapping[str, Credentials]) -> None:
        """Pulls an image that a Dockerfile names; whose progress nobody sees."""
        from dosirak.engine.images import parse
        from dosirak.engine.registry.credentials import of_domain

        wanted = parse(name)
        await self._registry().pull(wanted, lambda message: None, credentials=of_domain(known, wanted.domain))

    @property
    def busy(self) -> bool:
        """Whether something goes on that needs the service, requests apart."""
        serving = self._registry.made is not None and self._registry.made.serving.active
        return serving or self.rooms.containers.active or self.rooms.builder.active

    def end_streams(self) -> None:
        """End the streams that only watch, so that their requests can end."""
        self.rooms.events.close()

    async def close(self) -> None:
        """Let go of everything; running containers run on. What the network needs goes when nothing runs."""
        rooms = self.rooms
        idle = not rooms.containers.list()
        await self._quietly("builder", rooms.builder.close())
        if self._registry.made is not None:
            await self._quietly("registry", self._registry.made.close())
        await self._quietly("containers", rooms.containers.close())
        if idle:
            await self._quietly("networks", rooms.networks.teardown())
        await self._quietly("networks", rooms.networks.close())
        await self._quietly("layers", self._layers.close())
        await self._quietly("launcher", self._launcher.close())
        if idle:
            cgroups.remove_parent(cgroups.parent())
        if self._keeper is not None:
            if idle:
                self._keeper.end()
            self._keeper.close()
        self._db.close()

    async def _quietly(self, room: str, closing: object) -> None:
        """One room's failure must not keep the others from being closed."""
        try:
            await closing  # type: ignore[misc]
        except Exception:
            log.exception("closing %s", room)


class Once(Generic[Made]):
    """Makes something at the first call, and returns the same from then on."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self.made: Made | None = None
        self._make = make

    def __call__(self) -> Made:
        """The thing, made now if it is not there yet."""
        if self.made is None:
            self.made = self._make()
        return self.made


def _apply_changes(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The builder's, imported when somebody needs it: it brings the whole Dockerfile language."""
    from dosirak.engine.build.changes import apply_changes

    return apply_changes(config, changes)
