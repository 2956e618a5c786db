"""`network connect` and `disconnect`: for containers that run and for those that don't."""

from __future__ import annotations

import asyncio

from dosirak.engine.containers.documents import EndpointSettings
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking import asked, files, joining, links
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import Forbidden, HostLimit, InvalidRequest, NotFound
from dosirak.engine.networks.model import Network


class Networking:
    """The containers' networks."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def connect(self, ref: str, network: str, settings: EndpointSettings) -> None:
        """One more network. Raises NotFound, InvalidRequest, Forbidden when it is connected, HostLimit."""
        live = self._room.table.find(ref)
        await asyncio.shield(self._room.operate(self._connect(live, network, settings), f"connect {network}"))

    async def disconnect(self, ref: str, network: str, *, force: bool = False) -> None:
        """One network less. Raises NotFound, Forbidden when it isn't connected."""
        live = self._room.table.find(ref)
        await asyncio.shield(self._room.operate(self._disconnect(live, network, force), f"disconnect {network}"))

    def links(self, record: Container) -> list[str] | None:
        """HostConfig.Links, as inspect shows them."""
        return links.shown(self._room, record)

    def link_names(self) -> dict[str, list[str]]:
        """By container id the names "PARENT/ALIAS" that it has by links to it."""
        return links.names(self._room)

    async def remove_link(self, name: str) -> None:
        """`rm --link PARENT/ALIAS`. Raises NotFound, HostLimit for what is no link."""
        links.remove(self._room, name)

    async def _connect(self, live: Live, network: str, settings: EndpointSettings) -> None:
        room, record = self._room, live.record
        async with live.lock:
            _check_not_going(live)
            found = self._find(network)
            if found is None:
                if record.state.running:
                    raise NotFound(f"network {network} not found")
                record.networks.setdefault(network, settings)  # it may be made before the start
                room.table.save(live)
                return
            asked.check_endpoint(found.name, settings, found)
            _check_company(live, found)
            if not record.state.running:
                record.networks.setdefault(found.name, settings)
                room.table.save(live)
                return
            before = room.networks.sandbox(record.id)
            join = joining.request(record, found.name, settings)
            sandbox = await room.networks.add(
                record.id,
                record.name,
                join,
                hostname=record.config.hostname,
                pid=record.state.pid,
                resolver=joining.resolver(record),
            )
            record.networks[found.name] = settings
            joining.remember(record, found.name, found.id)
            room.table.save(live)
            files.update(room, record, before, sandbox)
            room.tell_endpoint(live, "connect", sandbox.endpoints[-1])

    async def _disconnect(self, live: Live, network: str, force: bool) -> None:
        room, record = self._room, live.record
        async with live.lock:
            found = self._find(network)
            name = found.name if found else network
            if not record.state.running or (found is None and force):
                _check_not_going(live)
                if name not in record.networks:
                    raise HostLimit(f"container {record.id} is not connected to the network {name}")
                del record.networks[name]
                room.table.save(live)
                return
            if found is None:
                raise NotFound(f"network {network} not found")
            if record.host_config.network_mode == "host" and found.driver == "host":
                raise InvalidRequest(
                    "cannot disconnect container from host network - container was created in host network mode"
                )
            before = room.networks.sandbox(record.id)
            try:
                gone = await room.networks.leave(record.id, found.id)
            except Forbidden:
                if force and name in record.networks:  # its record was damaged
                    del record.networks[name]
                    room.table.save(live)
                    return
                raise HostLimit(f"container {record.id} is not connected to network {name}") from None
            record.networks.pop(name, None)
            room.table.save(live)
            files.update(room, record, before, room.networks.sandbox(record.id))
            room.tell_endpoint(live, "disconnect", gone)

    def _find(self, network: str) -> Network | None:
        try:
            return self._room.networks.inspect(network)
        except NotFound:
            return None


def _check_not_going(live: Live) -> None:
    if live.record.state.removing or live.record.state.dead:
        raise HostLimit(
            f"Container {live.record.id} is marked for removal and cannot be connected or disconnected to the network"
        )


def _check_company(live: Live, network: Network) -> None:
    """Who shares a namespace, or has none to speak of, has no other network. Raises InvalidRequest."""
    record = live.record
    mode = record.host_config.network_mode
    if mode.startswith("container:"):
        raise InvalidRequest(asked.SHARED)
    if network.driver == "host" and mode != "host":
        raise InvalidRequest(asked.HOST)
    others = set(record.networks) - {network.name}
    if others and ("host" in others or network.driver == "host"):
        raise InvalidRequest(asked.SHARED)
    if others and ("none" in others or network.driver == "null"):
        raise InvalidRequest(asked.NONE)
