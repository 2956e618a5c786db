"""The room's door: a request in, events while it runs, an image at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dosirak.engine.build.model import BuildRequest, ProgressSink

if TYPE_CHECKING:
    from dosirak.engine.containers import Containers
    from dosirak.engine.images import Images
    from dosirak.engine.images.model import Image
    from dosirak.engine.layers import Layers
    from dosirak.engine.settings import Settings
    from dosirak.engine.state.database import Database


class Builder:
    """Builds images from Dockerfiles. One for an engine; any number of builds at the same time."""

    def __init__(
        self, images: Images, layers: Layers, containers: Containers, database: Database, settings: Settings
    ) -> None:
        self._images = images
        self._layers = layers
        self._containers = containers
        self._database = database
        self._settings = settings

    async def build(self, request: BuildRequest, progress: ProgressSink) -> Image:
        """Builds one image and tags it; `progress` hears of every step.

        Cancelling the task ends the build: its process is killed, finished steps stay cached, nothing else stays.
        Raises InvalidRequest before the first event when the request or the Dockerfile is wrong; CommandFailed when
        a RUN step's command fails; EngineError otherwise. A failure after the first event is an event too.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Waits for the layers still being packed in the background and records them."""
