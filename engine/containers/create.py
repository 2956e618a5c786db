"""`create`: a checked request and an image become a record, a directory and volumes; nothing runs yet."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.containers import checks, launching, merge, mounts, names
from dosirak.engine.containers.documents import (
    ContainerConfig,
    CreateRequest,
    EndpointSettings,
    HostConfig,
    NetworkingConfig,
)
from dosirak.engine.containers.limits import storage
from dosirak.engine.containers.model import Container, Created
from dosirak.engine.containers.mounts import MountPlan
from dosirak.engine.containers.networking import asked, links
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import joining
from dosirak.engine.content import Descriptor
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.images import platforms

if TYPE_CHECKING:
    from dosirak.engine.images import Image
    from dosirak.engine.networks import Network

_CONFIG_FIELDS = tuple(ContainerConfig.__struct_fields__)


async def create(
    room: Room, body: CreateRequest, name: str | None, platform: str | None, *, flat_readonly: bool
) -> Created:
    """See `Containers.create`."""
    config, host, networking = _own(body)
    warnings = checks.check(config, host, networking, room.facts)
    await launching.choose_filter(room, host)  # a profile that can't be used is refused here, and compiled otherwise
    if not config.image:
        raise InvalidRequest("no image specified")
    image = await room.images.resolve(config.image)
    _check_platform(platform, image)
    # Until the record stands, only this keeps the layers from being removed with their image.
    with room.images.hold(image.diff_ids):
        container_id = await _create(room, image, name, config, host, networking, flat_readonly=flat_readonly)
    live = room.table.find(container_id)
    room.tell(live, "create")
    return Created(container_id, warnings)


async def _create(
    room: Room,
    image: Image,
    name: str | None,
    config: ContainerConfig,
    host: HostConfig,
    networking: NetworkingConfig,
    *,
    flat_readonly: bool,
) -> str:
    """Name, record, directory, volumes. Returns the id."""
    layers = await room.images.lower_dirs(image)
    config = merge.merge(config, image.config.config)
    command = merge.command(config)
    config.working_dir = merge.clean_working_dir(config.working_dir)
    joining.resolve(room, host)
    container_id = names.new_id()
    name = names.check(name) if name else names.generate(room.table.names, container_id)
    room.table.reserve(name, container_id)
    try:
        networks = asked.choose(config, host, networking, lambda ref: _find_network(room, ref))
        record = _record(container_id, name, command, config, host, networks)
        record.image, record.layers, record.diff_ids = image.id, layers, image.diff_ids
        record.manifest = _manifest(image)
        record.links = links.choose(room, host)
        joining.allot(room, record)
        record.mount_plans = _plan_mounts(room, record, flat_readonly=flat_readonly)
        await _make(room, record)
    except BaseException:
        room.table.release(name)
        room.ids.release(container_id)
        room.bundles.discard(container_id)
        raise
    return container_id


def _manifest(image: Image) -> Descriptor:
    """The image's manifest, with the platform that its config names."""
    if image.manifest.platform is not None:
        return image.manifest
    return msgspec.structs.replace(image.manifest, platform=image.config.platform)


def _check_platform(platform: str | None, image: Image) -> None:
    """`--platform OS[/ARCHITECTURE[/VARIANT]]` must be the image's."""
    wanted = platforms.parse(platform or "")
    if wanted is not None and not platforms.fits(image.config.platform, wanted):
        raise NotFound(
            f"image with reference {image.names[0] if image.names else image.id} was found but its platform "
            f"({image.config.platform}) does not match the specified platform ({platform})"
        )


def _own(body: CreateRequest) -> tuple[ContainerConfig, HostConfig, NetworkingConfig]:
    """Copies of the request's three parts, which the checks may complete."""
    config = ContainerConfig(**{field: getattr(body, field) for field in _CONFIG_FIELDS})
    host = msgspec.structs.replace(
        body.host_config,
        log_config=msgspec.structs.replace(body.host_config.log_config),
        restart_policy=msgspec.structs.replace(body.host_config.restart_policy),
    )
    return config, host, msgspec.structs.replace(body.networking_config)


def _find_network(room: Room, ref: str) -> Network | None:
    """One that doesn't exist may come before the container's start."""
    try:
        return room.networks.inspect(ref)
    except NotFound:
        return None


def _record(
    container_id: str,
    name: str,
    command: Sequence[str],
    config: ContainerConfig,
    host: HostConfig,
    networks: dict[str, EndpointSettings],
) -> Container:
    if not config.hostname:
        config.hostname = os.uname().nodename if host.network_mode == "host" else container_id[:12]
    return Container(
        id=container_id,
        name=name,
        created=time.time(),
        image="",
        path=command[0],
        args=list(command[1:]),
        config=config,
        host_config=host,
        networks=networks,
    )


async def _make(room: Room, record: Container) -> None:
    """Directory, volumes, record: in that order, so that a record never names what isn't there."""
    directory = room.bundles.make(record.id, record.layers)
    storage.bound(directory, record.id, record.host_config.storage_opt or {})
    if record.host_config.log_config.type == "local":
        record.log_path = str(directory / "container.log")
    elif record.host_config.log_config.type != "none":
        record.log_path = str(directory / f"{record.id}-json.log")
    try:
        with ExitStack() as held:
            for plan in record.mount_plans:
                if plan.type == "volume":
                    await _prepare_volume(room, record, plan, held)
                elif plan.type == "bind":
                    _prepare_source(plan)
                elif plan.type == "image" and not plan.source:
                    await _prepare_image(room, plan, held)
            _record_all(room, record)
    except BaseException:
        for plan in record.mount_plans:
            if plan.anonymous and plan.name:
                await room.volumes.remove(plan.name, force=True)
        raise


def _record_all(room: Room, record: Container) -> None:
    """The container and its new anonymous volumes in one commit: after a crash all are there, or are swept."""
    own = [plan.name for plan in record.mount_plans if plan.anonymous]
    with room.table.transaction() if own else nullcontext():
        for name in own:
            room.volumes.record(room.volumes.get(name))
        room.table.record(record)
    room.table.add(record)


def _plan_mounts(room: Room, record: Container, *, flat_readonly: bool) -> list[MountPlan]:
    config, host = record.config, record.host_config
    inherited: list[MountPlan] = []
    for text in host.volumes_from or ():
        ref, writable = mounts.parse_volumes_from(text)
        for plan in _donor(room, ref).mount_plans:
            if plan.type != "tmpfs":
                inherited.append(
                    msgspec.structs.replace(plan, rw=plan.rw and writable, copy=False, anonymous=False, create=False)
                )
    return mounts.plan(
        image_volumes=config.volumes or (),
        inherited=inherited,
        binds=host.binds or (),
        mounts=host.mounts or (),
        tmpfs=host.tmpfs or {},
        volume_driver=host.volume_driver,
        root=str(room.settings.data),
        flat_readonly=flat_readonly,
    )


def _donor(room: Room, ref: str) -> Container:
    """The container of a `--volumes-from`: that there is none is the request's fault, not the path's."""
    try:
        return room.table.find(ref).record
    except NotFound as error:
        raise InvalidRequest(str(error)) from error


async def _prepare_volume(room: Room, record: Container, plan: MountPlan, held: ExitStack) -> None:
    """Find or make the volume, fill it. Until the record stands, only `held` keeps it from being pruned."""
    if plan.source:
        held.enter_context(room.volumes.hold(plan.name))
        return  # of another container
    volume = room.volumes.create(plan.name, labels=plan.labels, record=not plan.anonymous)
    held.enter_context(room.volumes.hold(volume.name))
    plan.name, plan.source, plan.driver = volume.name, volume.mountpoint, volume.driver
    if plan.copy:
        await room.volumes.fill(volume.name, record.layers, plan.destination, part=plan.subpath)


async def _prepare_image(room: Room, plan: MountPlan, held: ExitStack) -> None:
    """Find the image; its layers stay with the container that shows them."""
    image = await room.images.resolve(plan.name)
    held.enter_context(room.images.hold(image.diff_ids))
    plan.source, plan.layers, plan.diff_ids = image.id, await room.images.lower_dirs(image), image.diff_ids


def _prepare_source(plan: MountPlan) -> None:
    """A bind's source must be there; `-v` makes a missing one, `--mount` does not."""
    source = Path(plan.source)
    try:
        if plan.create:
            if not source.exists():
                source.mkdir(parents=True, exist_ok=True)
        else:
            source.lstat()
    except FileNotFoundError:
        raise InvalidRequest(
            f'invalid mount config for type "bind": bind source path does not exist: {plan.source}'
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidRequest(f"error while creating mount source path '{plan.source}': mkdir: {reason}") from error
