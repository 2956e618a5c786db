"""`rm`: by hand, by force, and by `--rm`; and `rename`."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from dosirak.engine.containers import ipc, names, stopping
from dosirak.engine.containers.limits import storage
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking import joining
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Conflict, EngineError, InvalidRequest
from dosirak.engine.runtime import cgroups


async def remove(room: Room, live: Live, ref: str, *, force: bool, volumes: bool) -> None:
    """See `Containers.remove`."""
    state = live.record.state
    if state.removing:
        raise Conflict(f"removal of container {ref} is already in progress")
    if not force:
        _check_not_running(live, ref)
    state.removing = True  # from here on nobody starts it
    try:
        while True:
            if state.running:
                await stopping.kill_running(room, live)
            async with live.lock:
                if live.record.id not in room.table:
                    return  # --rm was faster
                if not state.running:
                    await delete(room, live, volumes=volumes)
                    return
            # A start was under way when we came.
            if not force:
                _check_not_running(live, ref)
    finally:
        state.removing = False


async def remove_damaged(room: Room, container_id: str) -> None:
    """Remove a container whose record can't be read: what runs in it, its folder, its name."""
    await asyncio.to_thread(cgroups.remove, f"{cgroups.parent()}/{container_id}")
    await room.networks.disconnect(container_id)
    ipc.release(room.directory(container_id))
    room.table.forget_damaged(container_id)
    room.bundles.discard(container_id)


def _check_not_running(live: Live, ref: str) -> None:
    state = live.record.state
    if state.running:
        reason = (
            "container is paused and must be unpaused first"
            if state.paused
            else f"container is {state.status}: stop the container before removing or force remove"
        )
        raise Conflict(f'cannot remove container "{ref}": {reason}')


async def delete(room: Room, live: Live, *, volumes: bool) -> None:
    """Forget a container that doesn't run, with its files. Called with the lock held.

    Parameters: `volumes`: its anonymous volumes go too, unless another container uses them.
    """
    record = live.record
    dropped = _volumes_to_drop(room, record) if volumes else []
    with room.table.transaction() if dropped else nullcontext():
        room.table.unrecord(live)
        for name in dropped:
            room.volumes.unrecord(name)
    room.table.forget(live)
    live.drop_attaches()
    for exec_id in [key for key, found in room.execs.items() if found.record.container == record.id]:
        del room.execs[exec_id]
    if record.host_config.storage_opt:
        storage.release(room.directory(record.id))
    room.bundles.discard(record.id)
    room.ids.release(record.id)
    for name in dropped:
        room.volumes.forget(name)
        await room.volumes.delete(name)
    room.tell(live, "destroy")
    live.removed()


def _volumes_to_drop(room: Room, record: Container) -> list[str]:
    """Its anonymous volumes; one shared by --volumes-from goes with its last user."""
    names_ = [plan.name for plan in record.mount_plans if plan.anonymous and plan.name]
    return [name for name in names_ if using_volume(room, name) == [record.id] and not room.volumes.is_held(name)]


def using_volume(room: Room, name: str) -> list[str]:
    """Ids of the containers that mount a volume."""
    return [live.record.id for live in room.table if any(plan.name == name for plan in live.record.mount_plans)]


async def rename(room: Room, live: Live, new_name: str) -> None:
    """See `Containers.rename`."""
    new_name = new_name.strip()
    if not new_name.removeprefix("/"):
        raise InvalidRequest("Neither old nor new names may be empty")
    async with room.holding(live):
        old = live.record.name
        if new_name.removeprefix("/") == old:
            raise InvalidRequest("Renaming a container with the same name as its current name")
        try:
            bare = names.check(new_name)
            room.table.reserve(bare, live.record.id)
        except EngineError as error:
            raise type(error)(f"Error when allocating new name: {error}") from error
        live.record.name = bare
        try:
            room.table.save(live)
        except BaseException:
            live.record.name = old
            room.table.release(bare)
            raise
        room.table.release(old)
        room.networks.rename(live.record.id, bare, joining.names_by_network(live.record))
        room.tell(live, "rename", {"oldName": f"/{old}"})
