"""`docker commit`: what a container has written becomes a layer, its configuration an image's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.containers import merge, pausing
from dosirak.engine.containers.documents import ContainerConfig, HealthConfig
from dosirak.engine.containers.files.changes import changes
from dosirak.engine.containers.files.stubs import is_stub
from dosirak.engine.errors import EngineError
from dosirak.engine.images import Healthcheck, History, Image, ImageConfig, RunConfig, parse, times
from dosirak.engine.layers.threads import in_thread

if TYPE_CHECKING:
    from dosirak.engine.containers.live import Live
    from dosirak.engine.containers.room import Room
    from dosirak.engine.layers.pack import Hidden

_SHARED = tuple(
    field
    for field in RunConfig.__struct_fields__
    if field != "healthcheck" and field in ContainerConfig.__struct_fields__
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `commit` is asked: `name` "" for an image without one; `changes`: Dockerfile instructions; `config`: instead
    of the container's own, which still fills its gaps."""

    name: str = ""
    author: str = ""
    comment: str = ""
    changes: Sequence[str] = ()
    config: ContainerConfig | None = None
    pause: bool = True


async def commit(room: Room, live: Live, request: Request) -> str:
    """See `Files.commit`."""
    record = live.record
    base = await room.images.resolve(record.image)
    config = run_config(record.config, request, room.images.apply_changes)
    names = [request.name] if request.name else []
    layers = await room.images.layer_infos(base)
    async with AsyncExitStack() as stack:
        async with _paused(room, live, request.pause):
            upper = Path(f"{room.directory(record.id)}/upper")
            changed = {change.path for change in await in_thread(changes, str(upper), record.layers)}
            if changed:
                layers.append(await stack.enter_async_context(room.images.layer_of(upper, _hidden(changed))))
        document = _document(base.config, config, record.config, request, empty=not changed)
        image = await room.images.commit(document, layers, names, parent=base.id)
    room.events.publish("image", "create", image.id, {**(config.labels or {}), "name": image.id})
    reference = parse(request.name).tagged().familiar if request.name else ""
    room.tell(live, "commit", {"comment": request.comment, "imageID": image.id, "imageRef": reference})
    # Whoever runs it next finds its layer unpacked, or waits for this.
    room.operate(_unpack(room, image), f"unpack {image.short_id}")
    return image.id


def _hidden(changed: set[str]) -> Hidden:
    def hidden(path: bytes, status: os.stat_result) -> bool:
        return is_stub(path, status) and "/" + path.decode("utf-8", "replace") not in changed

    return hidden


async def _unpack(room: Room, image: Image) -> None:
    with suppress(EngineError):  # removed meanwhile; a full disk is told to whoever runs it
        await room.images.lower_dirs(image)


@asynccontextmanager
async def _paused(room: Room, live: Live, wanted: bool) -> AsyncIterator[None]:
    """Inside, a running container stands still. One that can't be paused is committed as it runs, as in Docker."""
    state = live.record.state
    held = False
    if wanted and state.running and not state.paused:
        with suppress(EngineError):
            await pausing.pause(room, live)
            held = True
    try:
        yield
    finally:
        if held:
            with suppress(EngineError):  # it has ended meanwhile, or somebody else was faster
                await asyncio.shield(room.operate(pausing.unpause(room, live), f"unpause {live.record.short_id}"))


def run_config(
    container: ContainerConfig, request: Request, apply: Callable[[RunConfig, Sequence[str]], RunConfig]
) -> RunConfig:
    """The image's configuration: what was asked with the changes applied, its gaps filled by the container's. Pure.

    Raises InvalidRequest for a change that is none.
    """
    asked = apply(_to_image(request.config or container), request.changes)
    whole = merge.merge(_to_container(asked), _to_image(container))
    return msgspec.structs.replace(_to_image(whole), on_build=asked.on_build)


def _to_image(config: ContainerConfig) -> RunConfig:
    check = config.healthcheck
    shared = {name: getattr(config, name) for name in _SHARED}
    return RunConfig(**shared, healthcheck=Healthcheck(**msgspec.structs.asdict(check)) if check else None)


def _to_container(config: RunConfig) -> ContainerConfig:
    check = config.healthcheck
    shared = {name: getattr(config, name) for name in _SHARED}
    return ContainerConfig(**shared, healthcheck=HealthConfig(**msgspec.structs.asdict(check)) if check else None)


def _document(
    base: ImageConfig, config: RunConfig, container: ContainerConfig, request: Request, *, empty: bool
) -> ImageConfig:
    created = times.now()
    step = History(
        created=created,
        created_by=" ".join(container.cmd or ()),
        author=request.author,
        comment=request.comment,
        empty_layer=empty,
    )
    return ImageConfig(
        architecture=base.architecture,
        os=base.os,
        variant=base.variant,
        os_version=base.os_version,
        created=created,
        author=request.author,
        comment=request.comment,
        config=config,
        history=[*(base.history or ()), step],
    )
