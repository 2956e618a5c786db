"""`/volumes`: list, create, inspect, remove."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.api import reply, times
from dosirak.engine.api.router import Route
from dosirak.engine.content.disk import disk_use
from dosirak.engine.state import check_filters
from dosirak.engine.state import filters as match

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call
    from dosirak.engine.volumes import Volume

_FILTERS = frozenset(("dangling", "driver", "label", "name"))


class VolumeRequest(msgspec.Struct, rename="pascal"):
    """The body of `POST /volumes/create`."""

    name: str | None = None
    driver: str | None = None
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None


def document(volume: Volume) -> dict[str, Any]:
    """A volume as Docker shows it."""
    return {
        "CreatedAt": times.rfc3339(int(volume.created)),
        "Driver": volume.driver,
        "Labels": volume.labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": volume.scope,
    }


async def documents(call: Call) -> list[dict[str, Any]]:
    """Every volume with its use, as `GET /system/df` shows them."""
    shown = []
    for volume in call.rooms.volumes.list():
        users = call.rooms.containers.using_volume(volume.name)
        size = await asyncio.to_thread(disk_use, Path(volume.mountpoint))
        shown.append(document(volume) | {"UsageData": {"RefCount": len(users), "Size": size}})
    return shown


async def listing(call: Call) -> StreamResponse:
    """`GET /volumes`."""
    filters = call.filters()
    check_filters(filters, _FILTERS)
    dangling = match.boolean(filters, "dangling", default=False)
    found = [
        document(volume)
        for volume in call.rooms.volumes.list()
        if match.exact(filters, "driver", volume.driver)
        and match.pattern(filters, "name", volume.name)
        and match.labels(filters, "label", volume.labels)
        and ("dangling" not in filters or dangling == (not call.rooms.containers.using_volume(volume.name)))
    ]
    return reply.json({"Volumes": found, "Warnings": None})


async def create(call: Call) -> StreamResponse:
    """`POST /volumes/create`."""
    body = await call.json(VolumeRequest) or VolumeRequest()
    volume = call.rooms.volumes.create(
        body.name or "", driver=body.driver or "", labels=body.labels or {}, options=body.driver_opts or {}
    )
    return reply.json(document(volume), 201)


async def inspect(call: Call) -> StreamResponse:
    """`GET /volumes/{name}`."""
    return reply.json(document(call.rooms.volumes.get(call.vars["name"])))


async def remove(call: Call) -> StreamResponse:
    """`DELETE /volumes/{name}`."""
    name = call.vars["name"]
    users = [container.id for container in call.rooms.containers.using_volume(name)]
    await call.rooms.volumes.remove(name, users=users, force=call.flag("force"))
    return reply.empty()


async def prune(call: Call) -> StreamResponse:
    """`POST /volumes/prune`."""
    filters = call.filters()
    if call.version < (1, 42):
        filters.setdefault("all", ["true"])
    containers = call.rooms.containers
    found = await call.rooms.volumes.prune(filters, lambda name: bool(containers.using_volume(name)))
    return reply.json({"VolumesDeleted": found.removed, "SpaceReclaimed": found.reclaimed})


ROUTES = (
    Route("GET", "/volumes", listing),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune, since=(1, 25)),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
)
