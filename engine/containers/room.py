"""What the modules of this room share: the other rooms, the table of containers, and its rows in the database."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dosirak.engine.containers import names
from dosirak.engine.containers.bundles import Bundles
from dosirak.engine.containers.facts import Facts
from dosirak.engine.containers.limits.killing import Kills
from dosirak.engine.containers.live import Live, LiveExec
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.security import Confinement
from dosirak.engine.containers.sharing.ids import Ids
from dosirak.engine.errors import HostLimit, InvalidRequest, NotFound
from dosirak.engine.state import decode_all
from dosirak.engine.state.pruning import Once

if TYPE_CHECKING:
    from dosirak.engine.images import Images
    from dosirak.engine.networks import Endpoint, Networks, Sandbox
    from dosirak.engine.settings import Settings
    from dosirak.engine.state import Database, Events
    from dosirak.engine.supervision.client import Launcher
    from dosirak.engine.supervision.task import Task
    from dosirak.engine.volumes import Volumes

T = TypeVar("T")
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Container).decode


class Table:
    """Every container of the engine, in memory as in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._by_id: dict[str, Live] = {}
        self._ids: dict[str, str] = {}
        self._damaged: set[str] = set()  # ids of what is there and can't be read
        self.running_damaged: dict[str, Task] = {}  # of these, what runs

    def load(self) -> None:
        """Read all records."""
        rows = self._db.execute("SELECT id, name, doc FROM containers").fetchall()
        then = "left as it is, with its network if it runs, until it is removed by force"
        records, damaged = decode_all("container", ((key, doc) for key, _, doc in rows), _decode, then)
        for record in records:
            self._by_id[record.id] = Live(record)
        self._ids = {name: key for key, name, _ in rows}
        self._damaged = set(damaged)

    def transaction(self) -> AbstractContextManager[None]:
        """One commit for a container's record and what belongs to it. No await inside."""
        return self._db.transaction()

    def __iter__(self) -> Iterator[Live]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, container_id: object) -> bool:
        return container_id in self._by_id

    @property
    def names(self) -> Mapping[str, str]:
        """Name → id."""
        return self._ids

    def find(self, ref: str) -> Live:
        """By id, by name, by a link's name ("PARENT/ALIAS"), by the beginning of an id.

        Raises NotFound "No such container: x", InvalidRequest.
        """
        if live := self._by_id.get(ref):
            return live
        if live := self._by_id.get(self._ids.get(ref.removeprefix("/"), "")):  # a name may be no more than reserved
            return live
        if "/" in ref.strip("/") and (linked := self._linked(ref)):
            return linked
        if damaged := self.find_damaged(ref):
            raise HostLimit(f"container {damaged[:12]}: its record is damaged; it can only be removed, by force")
        if not ref:
            raise InvalidRequest('invalid name or ID supplied: ""')
        found = list(itertools.islice((live for key, live in self._by_id.items() if key.startswith(ref)), 2))
        if len(found) > 1:
            raise InvalidRequest(f"multiple IDs found with provided prefix: {ref}")
        if not found:
            raise NotFound(f"No such container: {ref}")
        return found[0]

    def _linked(self, ref: str) -> Live | None:
        parent, _, alias = ref.strip("/").rpartition("/")
        live = self._by_id.get(self._ids.get(parent, ""))
        return self._by_id.get(live.record.links.get(alias, "")) if live else None

    @property
    def damaged(self) -> Collection[str]:
        """Ids of containers whose records can't be read."""
        return self._damaged

    def find_damaged(self, ref: str) -> str:
        """The id of a container whose record can't be read, by id, name or beginning of an id; "" for any other."""
        name = ref.removeprefix("/")
        return next((key for key in self._damaged if self._ids.get(name) == key or (ref and key.startswith(ref))), "")

    def forget_damaged(self, container_id: str) -> None:
        """Remove what there is of its record; its name is free. Raises HostLimit."""
        self._db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        self._damaged.discard(container_id)
        self._ids = {name: key for name, key in self._ids.items() if key != container_id}

    def reserve(self, name: str, container_id: str) -> None:
        """Keep a name for a container that is being made. Raises Conflict when another one has it."""
        owner = self._ids.get(name)
        if owner is not None and owner != container_id:
            raise names.in_use(name, owner)
        self._ids[name] = container_id

    def release(self, name: str) -> None:
        """Give a reserved name back."""
        self._ids.pop(name, None)

    def record(self, record: Container) -> None:
        """Write a new container's record. Raises HostLimit."""
        self._db.execute(
            "INSERT INTO containers (id, name, doc) VALUES (?, ?, ?)", (record.id, record.name, _encode(record))
        )

    def add(self, record: Container) -> Live:
        """A recorded container, whose name is reserved, can be found from now on."""
        live = self._by_id[record.id] = Live(record)
        return live

    def save(self, live: Live) -> None:
        """Write the record. Raises HostLimit."""
        record = live.record
        self._db.execute(
            "UPDATE containers SET name = ?, doc = ? WHERE id = ?", (record.name, _encode(record), record.id)
        )

    def unrecord(self, live: Live) -> None:
        """Remove the record. Raises HostLimit."""
        self._db.execute("DELETE FROM containers WHERE id = ?", (live.record.id,))

    def forget(self, live: Live) -> None:
        """A container without a record can't be found any more; its name is free."""
        del self._by_id[live.record.id]
        self._ids.pop(live.record.name, None)


@dataclass(slots=True)
class Room:
    """The containers room: its neighbours and its state."""

    settings: Settings
    images: Images
    networks: Networks
    volumes: Volumes
    launcher: Launcher
    events: Events
    facts: Facts
    table: Table
    bundles: Bundles
    confinement: Confinement
    ids: Ids
    execs: dict[str, LiveExec] = field(default_factory=dict)
    # Who waits for an end, and who is changing something: both owned here, and ended by `Containers.close`.
    supervisors: set[asyncio.Task[Any]] = field(default_factory=set)
    operations: set[asyncio.Task[Any]] = field(default_factory=set)
    # Builds' steps under way, by the id they run as.
    steps: set[str] = field(default_factory=set)
    pruning: Once = field(default_factory=Once)
    kills: Kills = field(default_factory=Kills)
    closing: bool = False

    def directory(self, container_id: str) -> Path:
        """The bundle of a container: config.json, upper, work, log."""
        return self.bundles.directory(container_id)

    def save(self, live: Live) -> None:
        """Record what has happened. A full disk changes nothing about it: the next service finds the process, or its
        exit.json."""
        try:
            self.table.save(live)
        except HostLimit as error:
            _log.warning("container %s: %s", live.record.short_id, error)

    @asynccontextmanager
    async def holding(self, live: Live) -> AsyncIterator[None]:
        """A container's lock, for who wants the container in the end. Raises NotFound if it was removed meanwhile."""
        async with live.lock:
            if live.record.id not in self.table:
                raise NotFound(f"No such container: {live.record.id}")
            yield

    def supervise(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Look after a process in the background; cancelled when the service ends."""
        return _own(self.supervisors, asyncio.create_task(coroutine, name=name))

    def operate(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A change of state as a task of its own."""
        return _own(self.operations, asyncio.create_task(coroutine, name=name))

    def tell(self, live: Live, action: str, attributes: Mapping[str, str] | None = None) -> None:
        """Publish an event of a container, with the attributes Docker gives all of them."""
        record = live.record
        told = {**(record.config.labels or {}), "image": record.config.image, "name": record.name, **(attributes or {})}
        self.events.publish("container", action, record.id, told)

    def tell_network(self, live: Live, action: str, sandbox: Sandbox | None) -> None:
        """Publish that a container joins ("connect") or leaves ("disconnect") its networks."""
        for endpoint in sandbox.endpoints if sandbox else ():
            self.tell_endpoint(live, action, endpoint)

    def tell_endpoint(self, live: Live, action: str, endpoint: Endpoint) -> None:
        """Publish that a container joins or leaves one network."""
        driver = {"none": "null", "host": "host"}.get(endpoint.network, "bridge")
        attributes = {"container": live.record.id, "name": endpoint.network, "type": driver}
        self.events.publish("network", action, endpoint.network_id, attributes)

    def tell_volumes(self, live: Live, action: str) -> None:
        """Publish that a container uses ("mount") or lets go of ("unmount") its volumes."""
        for plan in live.record.mount_plans:
            if plan.type == "volume":
                attributes = {"container": live.record.id, "driver": plan.driver}
                if action == "mount":
                    write = "true" if plan.rw else "false"
                    attributes |= {"destination": plan.destination, "propagation": "", "read/write": write}
                self.events.publish("volume", action, plan.name, attributes)


def _own(tasks: set[asyncio.Task[Any]], task: asyncio.Task[T]) -> asyncio.Task[T]:
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task
