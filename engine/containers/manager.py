"""The room's door: `Containers`, what the API, the builder and the service ask of containers.

Methods take a *ref*: an id, an unambiguous prefix of one, or a name (with or without "/"). All are called on the event
loop's thread. Contrary calls on one container serialise on its lock; each gets Docker's answer.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dosirak.engine.containers import (
    adopt,
    attaching,
    create,
    execs,
    facts,
    lifecycle,
    listing,
    pausing,
    pruning,
    removal,
    run_step,
    security,
    signals,
    stopping,
    view,
)
from dosirak.engine.containers import logs as logbook
from dosirak.engine.containers import top as processes
from dosirak.engine.containers.bundles import Bundles
from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.files import Files
from dosirak.engine.containers.limits import Limits, group
from dosirak.engine.containers.live import Live
from dosirak.engine.containers.model import (
    Container,
    Created,
    CreateRequest,
    EndpointSettings,
    Exec,
    ExecConfig,
    LogQuery,
    LogRecord,
    Paths,
    PortBinding,
    Top,
    WaitCondition,
    WaitResult,
)
from dosirak.engine.containers.networking import Networking
from dosirak.engine.containers.room import Room, Table
from dosirak.engine.containers.security import apparmor
from dosirak.engine.containers.sharing.ids import Ids
from dosirak.engine.containers.stats import Stats
from dosirak.engine.errors import Conflict, InvalidRequest
from dosirak.engine.state import Database, Events, Filters
from dosirak.engine.state.pruning import Pruned

if TYPE_CHECKING:
    from dosirak.engine.images import Images
    from dosirak.engine.networks import Networks
    from dosirak.engine.settings import Settings
    from dosirak.engine.supervision.client import Launcher
    from dosirak.engine.supervision.model import Attach
    from dosirak.engine.volumes import Volumes

T = TypeVar("T")
# How long a service that ends waits for starts, stops and removals under way.
_LAST_SECONDS = 3.0


class Containers:
    """Every container of one engine root."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        images: Images,
        networks: Networks,
        volumes: Volumes,
        launcher: Launcher,
        events: Events,
    ) -> None:
        """Reads the records; `adopt_all` brings them up to date. Raises HostLimit."""
        found = facts.find()
        self._room = Room(
            settings=settings,
            images=images,
            networks=networks,
            volumes=volumes,
            launcher=launcher,
            events=events,
            facts=found,
            table=Table(db),
            bundles=Bundles(settings.data),
            confinement=security.Confinement(settings.data, supported=found.seccomp),
            ids=Ids(settings.data),
        )
        self.networking = Networking(self._room)
        self.limits = Limits(self._room)
        self.stats = Stats(self._room)
        self.files = Files(self._room)
        self._lost: builtins.list[Live] = []
        self._room.table.load()
        for live in self._room.table:
            self._room.ids.hold(live.record.id, live.record.id_maps)

    async def _whole(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        """Run to the end even if whoever asked goes away: no container is left half way between two states."""
        return await asyncio.shield(self._room.operate(coroutine, name))

    # Records

    def get(self, ref: str) -> Container:
        """The record (not to be changed). Raises NotFound "No such container: x", InvalidRequest if ambiguous."""
        return self._room.table.find(ref).record

    def list(self, *, all: bool = False, limit: int = 0, filters: Filters | None = None) -> builtins.list[Container]:
        """As `docker ps`: the newest first; only running ones unless `all`, `limit` or a status filter.

        Raises InvalidRequest for an unknown filter, NotFound for a container named by `before` or `since`.
        """
        return listing.choose(
            (live.record for live in self._room.table),
            all=all,
            limit=limit,
            filters=filters or {},
            find=self.get,
            published=lambda container: self.ports(container.id),
        )

    def status(self, container: Container) -> str:
        """Docker's words: "Up 2 minutes", "Exited (0) 3 seconds ago", "Created"."""
        return listing.status(container)

    def warnings(self) -> builtins.list[str]:
        """The containers whose records can't be read, for `GET /info`."""
        return [
            f"WARNING: Container {key[:12]}: its record is damaged: it can only be removed, by force"
            for key in sorted(self._room.table.damaged)
        ]

    def endpoints(self, ref: str) -> dict[str, EndpointSettings]:
        """The container's networks with what was asked and, while it runs, its addresses."""
        record = self.get(ref)
        return view.endpoints(record, self._room.networks.sandbox(record.id))

    def ports(self, ref: str) -> Mapping[str, Sequence[PortBinding] | None]:
        """`NetworkSettings.Ports`: "80/tcp" → where it is published, or None when only exposed. {} when not running."""
        record = self.get(ref)
        return view.ports(record, self._room.networks.sandbox(record.id))

    def paths(self, ref: str) -> Paths:
        """Where the container's things lie on the host."""
        record = self.get(ref)
        return view.paths(record, self._room.directory(record.id), self._room.directory)

    async def size(self, ref: str) -> tuple[int, int]:
        """Bytes the container has written, and those together with its image (`ps --size`)."""
        found = await self.files.size(ref)
        return found.own, found.whole

    def exec_ids(self, ref: str) -> builtins.list[str]:
        """The container's execs that have not ended, those not started yet among them."""
        container_id = self.get(ref).id
        return [
            key
            for key, found in self._room.execs.items()
            if found.record.container == container_id and found.record.exit_code is None
        ]

    def using_image(self, image_id: str) -> builtins.list[Container]:
        """The containers made from an image, for `Images`' in-use check."""
        return [live.record for live in self._room.table if live.record.image == image_id]

    def holding_image(self, image_id: str) -> builtins.list[Container]:
        """The same, and those that mount it."""
        return [
            live.record
            for live in self._room.table
            if live.record.image == image_id or any(plan.source == image_id for plan in live.record.mount_plans)
        ]

    def using_volume(self, name: str) -> builtins.list[Container]:
        """The containers that mount a named volume."""
        return [self.get(container_id) for container_id in removal.using_volume(self._room, name)]

    def kept_layers(self) -> builtins.list[str]:
        """Diff IDs that containers stand on: they stay even when their image is removed by force."""
        records = [live.record for live in self._room.table]
        mounted = {diff_id for record in records for plan in record.mount_plans for diff_id in plan.diff_ids}
        return list(mounted.union(*(record.diff_ids for record in records)))

    @property
    def active(self) -> bool:
        """Whether something runs, is being started or being removed: the service must not end by idleness."""
        busy = any(live.record.state.running or live.lock.locked() for live in self._room.table)
        return busy or bool(self._room.steps)

    @property
    def seccomp(self) -> bool:
        """Whether the kernel filters containers' system calls."""
        return self._room.facts.seccomp

    def apparmor_profile(self, container: Container) -> str:
        """The AppArmor profile of a container's processes, "" where there are none."""
        options = container.host_config.security_opt or ()
        supported = self._room.facts.apparmor
        asked = security.parse_security_options(options, apparmor=supported).apparmor if supported else ""
        return apparmor.profile_of(container.host_config, asked, supported=supported)

    @property
    def apparmor(self) -> bool:
        """Whether containers have AppArmor profiles."""
        return self._room.facts.apparmor

    # Lifecycle

    async def create(
        self,
        body: CreateRequest,
        name: str | None = None,
        *,
        platform: str | None = None,
        flat_readonly: bool = False,
    ) -> Created:
        """A new container. `wire.parse(CreateRequest, json)` makes the body and tells unknown fields (warn of them).

        Parameters: `flat_readonly`: of a read-only bind the mounts below stay writable, as for clients before API 1.44.
        Raises NotFound "No such image: x:latest" (also for a foreign `platform`), Conflict for a name in use,
        InvalidRequest, NotSupported.
        """
        made = create.create(self._room, body, name, platform, flat_readonly=flat_readonly)
        return await self._whole(made, "create")

    async def start(self, ref: str) -> None:
        """Start it. Raises NotModified (running already), Conflict, StartFailed."""
        live = self._room.table.find(ref)
        await self._whole(lifecycle.start(self._room, live), f"start {live.record.short_id}")

    async def stop(self, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:  # noqa: ASYNC109
        """Stop signal, then SIGKILL after `timeout` seconds (-1: never). Raises NotModified if it isn't running."""
        live = self._room.table.find(ref)
        await self._whole(stopping.stop(self._room, live, timeout, signal), f"stop {live.record.short_id}")

    async def restart(self, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:  # noqa: ASYNC109
        """Stop (if it runs) and start. Raises HostLimit "Cannot restart container x: …", whatever the reason."""
        live = self._room.table.find(ref)
        await self._whole(lifecycle.restart(self._room, live, ref, timeout, signal), f"restart {live.record.short_id}")

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        """Send a signal; after SIGKILL its end is waited for. Raises Conflict if it isn't running, InvalidRequest."""
        number = signals.parse(signal or "SIGKILL")
        live = self._room.table.find(ref)
        await self._whole(stopping.kill(self._room, live, number), f"kill {live.record.short_id}")

    async def pause(self, ref: str) -> None:
        """Freeze its processes. Raises Conflict if it isn't running or is paused already, HostLimit."""
        live = self._room.table.find(ref)
        await self._whole(pausing.pause(self._room, live), f"pause {live.record.short_id}")

    async def unpause(self, ref: str) -> None:
        """Let them go on. Raises HostLimit "Container x is not paused" (500, as Docker)."""
        live = self._room.table.find(ref)
        await self._whole(pausing.unpause(self._room, live), f"unpause {live.record.short_id}")

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it; `force` kills it first, `volumes` removes its anonymous volumes. Raises Conflict."""
        if force and (damaged := self._room.table.find_damaged(ref)):
            await self._whole(removal.remove_damaged(self._room, damaged), f"remove {damaged[:12]}")
            return
        live = self._room.table.find(ref)
        await self._whole(
            removal.remove(self._room, live, ref, force=force, volumes=volumes), f"remove {live.record.short_id}"
        )

    async def prune(self, filters: Filters) -> Pruned:
        """Remove the containers that don't run. Raises InvalidRequest, Conflict when it is under way already."""
        return await pruning.prune(self._room, filters)

    async def rename(self, ref: str, new_name: str) -> None:
        """Raises Conflict for a name in use, InvalidRequest for a bad one."""
        await removal.rename(self._room, self._room.table.find(ref), new_name)

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """The terminal's size. Raises Conflict if it isn't running."""
        live = self._room.table.find(ref)
        if live.task is None:
            raise Conflict(f"container {live.record.id} is not running")
        try:
            await live.task.resize(rows, columns)
        except ProcessLookupError:
            raise Conflict(f"container {live.record.id} is not running") from None
        self._room.tell(live, "resize", {"height": str(rows), "width": str(columns)})

    def wait(self, ref: str, condition: str | WaitCondition = WaitCondition.NOT_RUNNING) -> Awaitable[WaitResult]:
        """Registers at once (so the API can send its headers), then is awaited. Cancel it to leave.

        Raises NotFound, InvalidRequest "invalid condition: x".
        """
        live = self._room.table.find(ref)
        try:
            wanted = WaitCondition(condition or WaitCondition.NOT_RUNNING)
        except ValueError:
            raise InvalidRequest(f'invalid condition: "{condition}"') from None
        if wanted is WaitCondition.REMOVED:
            return live.wait_removed()
        future = live.wait_stop()
        if wanted is WaitCondition.NOT_RUNNING and not live.record.state.running:
            future.set_result(live.result())
        return future

    # Streams

    async def attach(self, ref: str, attach: Attach, *, logs: bool = False, stream: bool = True) -> None:
        """Hand a client's socket over; this room (or the monitor) closes it from then on, unless it raises.

        A container that isn't running keeps the client until it starts. `logs`: what was logged comes first.
        Returns when the socket is in good hands, not when the stream ends. Raises Conflict when paused or restarting.
        """
        live = self._room.table.find(ref)
        await attaching.attach(self._room, live, ref, attach, logs=logs, stream=stream)

    def check_attach(self, ref: str) -> None:
        """Raises what `attach` would raise now: to ask while an answer can still be given."""
        attaching.check(self._room.table.find(ref), ref)

    def expecting(self, ref: str) -> AbstractContextManager[None]:
        """Inside, a client has been told that it attaches, and will be handed over: a start waits for it."""
        return self._room.table.find(ref).expecting()

    def logs(self, ref: str, query: LogQuery) -> AsyncIterator[LogRecord]:
        """The log, piece by piece; with `follow` until the container ends.

        Raises (at once) InvalidRequest, Conflict, NotSupported for a driver that can't be read.
        """
        live = self._room.table.find(ref)
        logbook.check(live, query)
        return logbook.records(live, query)

    def log_stream(self, ref: str, query: LogQuery) -> AsyncIterator[bytes]:
        """The log as `GET /containers/{id}/logs` answers it, in large chunks: multiplexed, or raw with a tty.

        The first piece is empty: it says that the log is open and stays readable, also when the container is removed.
        Raises as `logs`.
        """
        live = self._room.table.find(ref)
        logbook.check(live, query)
        return logbook.stream(live, query, framed=not live.record.config.tty)

    async def top(self, ref: str, ps_args: str = "") -> Top:
        """The container's processes, as `ps PS_ARGS` (default -ef). Raises Conflict "container x is not running"."""
        columns = processes.parse(ps_args or "-ef")
        live = self._room.table.find(ref)
        if live.task is None:
            raise Conflict(f"container {live.record.id} is not running")
        if live.record.state.restarting:
            raise Conflict(f"Container {live.record.id} is restarting, wait until the container is running")
        pids = group.processes(live.record, live.task.pid)
        found = await asyncio.to_thread(processes.table, pids, columns)
        self._room.tell(live, "top")
        return found

    # Exec

    def exec_create(self, ref: str, config: ExecConfig) -> str:
        """A new exec's id. Raises Conflict if the container isn't running, InvalidRequest without a command."""
        return execs.create(self._room, self._room.table.find(ref), ref, config)

    async def exec_check_user(self, ref: str, user: str) -> None:
        """Refuse a user (USER[:GROUP]) that the running container has not. Raises InvalidRequest, Conflict."""
        await execs.check_user(self._room.table.find(ref), ref, user)

    async def exec_start(
        self, exec_id: str, attach: Attach | None = None, *, size: tuple[int, int] | None = None
    ) -> None:
        """Run it; returns once the process has exec'd. `attach` as in `attach()`; None is detached.

        Raises NotFound "No such exec instance: x", Conflict if it ran before, StartFailed (`exec_inspect` then has
        the exit code 126 or 127).
        """
        await self._whole(execs.start(self._room, exec_id, attach, size), f"start exec {exec_id[:12]}")

    async def exec_settle(self, exec_id: str) -> None:
        """Wait until an exec that has ended is known to have ended, for a client that asks for its exit code."""
        await execs.settle(self._room, exec_id)

    def exec_inspect(self, exec_id: str) -> Exec:
        """Raises NotFound "No such exec instance: x"."""
        return execs.find(self._room, exec_id).record

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Raises NotFound, Conflict when it isn't running."""
        await execs.resize(self._room, exec_id, rows, columns)

    # Build

    async def run_step(
        self,
        *,
        lowers: Sequence[str],
        upper: str | Path,
        work: str | Path,
        argv: Sequence[str],
        output: run_step.Output,
        env: Sequence[str] = (),
        cwd: str = "/",
        user: str = "",
        network: str = "bridge",
        hostname: str = "buildkitsandbox",
        extra_hosts: Sequence[str] = (),
        shm_size: int = 64 << 20,
        id: str = "",
        limits: HostConfig | None = None,
        mounts: Sequence[Mapping[str, Any]] = (),
        private_env: Sequence[str] = (),
    ) -> int:
        """Run a build's RUN; its exit code. Cancelled, it kills the process first.

        Parameters: `lowers`: overlay lower directories, the topmost first; `upper`, `work`: the step's own, on one
        filesystem; `network`: "bridge" ("default"), "none" or "host"; `output` is called with 1 or 2 (stdout, stderr)
        and bytes as they come; `id`: 64 hex digits, "" for a new one; `limits`: resources; `mounts`: further mounts, as
        an OCI config.json has them; `private_env`: variables that are written nowhere. Raises StartFailed (command not
        found and the like), HostLimit, InvalidRequest.
        """
        step = run_step.Step(
            lowers=lowers,
            upper=upper,
            work=work,
            argv=argv,
            env=env,
            cwd=cwd,
            user=user,
            network=network,
            hostname=hostname,
            extra_hosts=extra_hosts,
            shm_size=shm_size,
            id=id,
            limits=limits or HostConfig(),
            mounts=mounts,
            private_env=private_env,
        )
        return await run_step.run_step(self._room, step, output)

    # Service

    async def adopt_all(self) -> None:
        """On service start: take over what runs, record what ended meanwhile, sweep what no record names."""
        self._room.bundles.start()
        self._lost = await adopt.adopt_all(self._room)

    def network_namespaces(self) -> dict[str, int | str]:
        """For `Networks.readopt`, after `adopt_all`: container id → pid, or path of the namespace between two runs."""
        return adopt.network_namespaces(self._room)

    async def resume(self) -> None:
        """After `adopt_all`, once the networks are up: start what is down and should be up, by its restart policy."""
        self._room.supervise(self._room.confinement.prepare(), "the default seccomp filter")
        lost, self._lost = self._lost, []
        await adopt.resume(self._room, lost)

    async def close(self) -> None:
        """The service ends: finish what is under way, let go of every container without touching it."""
        room = self._room
        room.closing = True
        if room.operations:
            await asyncio.wait(room.operations, timeout=_LAST_SECONDS)
        for task in (*room.operations, *room.supervisors):
            task.cancel()
        await asyncio.gather(*room.operations, *room.supervisors, return_exceptions=True)
        for live in room.table:
            live.drop_attaches()
        room.kills.close()
        await room.bundles.close()
