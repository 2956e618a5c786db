"""The room's door: `Containers`, what the API, the builder and the service ask of containers.

Methods take a *ref*: an id, an unambiguous prefix of one, or a name (with or without "/"). All are called on the event
loop's thread. Contrary calls on one container serialise on its lock; each gets Docker's answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING

from dosirak.engine.containers.model import (
    Container,
    Created,
    CreateRequest,
    EndpointSettings,
    Exec,
    ExecConfig,
    LogQuery,
    LogRecord,
    PortBinding,
    Top,
    WaitCondition,
    WaitResult,
)
from dosirak.engine.state import Database, Events, Filters

if TYPE_CHECKING:
    from dosirak.engine.images import Images
    from dosirak.engine.networks import Networks
    from dosirak.engine.runtime.client import Attach, Launcher
    from dosirak.engine.settings import Settings
    from dosirak.engine.volumes import Volumes


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
    ) -> None: ...

    # Records

    def get(self, ref: str) -> Container:
        """The record (not to be changed). Raises NotFound "No such container: x", InvalidRequest if ambiguous."""
        raise NotImplementedError

    def list(self, *, all: bool = False, limit: int = 0, filters: Filters | None = None) -> list[Container]:
        """As `docker ps`: the newest first; only running ones unless `all`, `limit` or a status filter.

        Raises InvalidRequest for an unknown filter, NotFound for a container named by `before` or `since`.
        """
        raise NotImplementedError

    def status(self, container: Container) -> str:
        """Docker's words: "Up 2 minutes", "Exited (0) 3 seconds ago", "Created"."""
        raise NotImplementedError

    def endpoints(self, ref: str) -> dict[str, EndpointSettings]:
        """The container's networks with what was asked and, while it runs, its addresses."""
        raise NotImplementedError

    def ports(self, ref: str) -> Mapping[str, Sequence[PortBinding] | None]:
        """`NetworkSettings.Ports`: "80/tcp" → where it is published, or None when only exposed. {} when not running."""
        raise NotImplementedError

    def exec_ids(self, ref: str) -> Sequence[str]:
        """The execs running in the container."""
        raise NotImplementedError

    def using_image(self, image_id: str) -> Sequence[Container]:
        """The containers made from an image, for `Images`' in-use check."""
        raise NotImplementedError

    def using_volume(self, name: str) -> Sequence[Container]:
        """The containers that mount a named volume."""
        raise NotImplementedError

    @property
    def active(self) -> bool:
        """Whether something runs, is being started or being removed: the service must not end by idleness."""
        raise NotImplementedError

    # Lifecycle

    async def create(self, body: CreateRequest, name: str | None = None) -> Created:
        """A new container. `wire.parse(CreateRequest, json)` makes the body and tells unknown fields (warn of them).

        Raises NotFound "No such image: x:latest", Conflict for a name in use, InvalidRequest.
        """
        raise NotImplementedError

    async def start(self, ref: str) -> None:
        """Start it. Raises NotModified (running already), Conflict, StartFailed."""
        raise NotImplementedError

    async def stop(self, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:  # noqa: ASYNC109
        """Stop signal, then SIGKILL after `timeout` seconds (-1: never). Raises NotModified if it isn't running."""
        raise NotImplementedError

    async def restart(self, ref: str, *, timeout: int | None = None, signal: str | None = None) -> None:  # noqa: ASYNC109
        """Stop (if it runs) and start."""
        raise NotImplementedError

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:
        """Send a signal. Raises Conflict if it isn't running, InvalidRequest "invalid signal: x"."""
        raise NotImplementedError

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it; `force` kills it first, `volumes` removes its anonymous volumes. Raises Conflict."""
        raise NotImplementedError

    async def rename(self, ref: str, new_name: str) -> None:
        """Raises Conflict for a name in use, InvalidRequest for a bad one."""
        raise NotImplementedError

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """The terminal's size. Raises Conflict if it isn't running."""
        raise NotImplementedError

    def wait(self, ref: str, condition: str | WaitCondition = WaitCondition.NOT_RUNNING) -> Awaitable[WaitResult]:
        """Registers at once (so the API can send its headers), then is awaited. Cancel it to leave."""
        raise NotImplementedError

    # Streams

    async def attach(self, ref: str, attach: Attach, *, logs: bool = False, stream: bool = True) -> None:
        """Hand a client's socket over; this room (or the monitor) closes it from then on.

        A container that isn't running keeps the client until it starts. `logs`: what was logged comes first.
        Returns when the socket is in good hands, not when the stream ends. Raises Conflict when paused or restarting.
        """
        raise NotImplementedError

    def logs(self, ref: str, query: LogQuery) -> AsyncIterator[LogRecord]:
        """The log, piece by piece; with `follow` until the container ends."""
        raise NotImplementedError

    def log_stream(self, ref: str, query: LogQuery) -> AsyncIterator[bytes]:
        """The log as `GET /containers/{id}/logs` answers it, in large chunks: multiplexed, or raw with a tty."""
        raise NotImplementedError

    async def top(self, ref: str, ps_args: str = "") -> Top:
        """The container's processes, as `ps PS_ARGS` (default -ef). Raises Conflict "container x is not running"."""
        raise NotImplementedError

    # Exec

    def exec_create(self, ref: str, config: ExecConfig) -> str:
        """A new exec's id. Raises Conflict if the container isn't running, InvalidRequest without a command."""
        raise NotImplementedError

    async def exec_start(
        self, exec_id: str, attach: Attach | None = None, *, size: tuple[int, int] | None = None
    ) -> None:
        """Run it; returns once the process has exec'd. `attach` as in `attach()`; None is detached.

        Raises NotFound "No such exec instance: x", Conflict if it ran before, StartFailed (`exec_inspect` then has
        the exit code 126 or 127).
        """
        raise NotImplementedError

    def exec_inspect(self, exec_id: str) -> Exec:
        """Raises NotFound "No such exec instance: x"."""
        raise NotImplementedError

    async def exec_wait(self, exec_id: str) -> int:
        """Wait for the exec's end; its exit code."""
        raise NotImplementedError

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Raises NotFound, Conflict when it isn't running."""
        raise NotImplementedError

    # Service

    async def adopt_all(self) -> None:
        """On service start: take over what runs, record what ended meanwhile, sweep what no record names."""
        raise NotImplementedError

    async def close(self) -> None:
        """The service ends: let go of every container without touching it."""
        raise NotImplementedError
