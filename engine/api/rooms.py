"""What the API needs of the engine: its rooms, as `engine/service` has put them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.engine.build import Builder
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Images
    from dosirak.engine.networks import Networks
    from dosirak.engine.registry import Registry
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Events
    from dosirak.engine.volumes import Volumes


class Rooms(NamedTuple):
    """The engine's rooms. `registry()` is imported and made at its first use: no service starts with it."""

    settings: Settings
    events: Events
    images: Images
    networks: Networks
    volumes: Volumes
    containers: Containers
    builder: Builder
    registry: Callable[[], Registry]
