"""What the containers room hands to others: plain data, no machinery.

Docker's own documents (ContainerConfig, HostConfig …) stand in `documents.py` and are re-exported here.
Times are unix seconds as float; 0.0 is "never".
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from dosirak.engine.containers.documents import (
    ContainerConfig,
    CreateRequest,
    EndpointSettings,
    ExecConfig,
    HealthConfig,
    HostConfig,
    Mount,
    MountPoint,
    NetworkingConfig,
    PortBinding,
)
from dosirak.engine.containers.health.model import Health
from dosirak.engine.containers.mounts import MountPlan
from dosirak.engine.containers.sharing.ids import IdMap
from dosirak.engine.content import Descriptor

__all__ = [
    "Container",
    "ContainerConfig",
    "CreateRequest",
    "Created",
    "EndpointSettings",
    "Exec",
    "ExecConfig",
    "HealthConfig",
    "HostConfig",
    "LogQuery",
    "LogRecord",
    "Mount",
    "MountPoint",
    "NetworkingConfig",
    "Paths",
    "PortBinding",
    "State",
    "Top",
    "WaitCondition",
    "WaitResult",
]


class State(msgspec.Struct, omit_defaults=True):
    """Where a container is in its life, as Docker's ContainerState.

    `running` stays True while paused or restarting. `error` is the last start's failure. `health` is None without a
    health check.
    """

    running: bool = False
    paused: bool = False
    restarting: bool = False
    removing: bool = False
    dead: bool = False
    oom_killed: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    health: Health | None = None

    @property
    def status(self) -> str:
        """Docker's one word: created, running, paused, restarting, removing, exited, dead."""
        if self.running:
            return "paused" if self.paused else "restarting" if self.restarting else "running"
        if self.removing:
            return "removing"
        if self.dead:
            return "dead"
        return "exited" if self.started_at else "created"


class Container(msgspec.Struct, omit_defaults=True):
    """A container's record, as the database keeps it.

    `name` is without Docker's leading "/". `config` is merged with the image's. `image` is the image's id
    ("sha256:…"), `config.image` the name it was asked by. `path` and `args`: the command line. `networks`: what was
    asked, by network name; addresses stand in the networks room (`Containers.endpoints`). `links`: those of the default
    bridge, alias → container's id. `layers`: the image's
    overlay lower directories, the topmost first; `diff_ids`: their names. `log_path`: its log, "" without one.
    `id_maps`: its user namespace's, none for the host's.
    """

    id: str
    name: str
    created: float
    image: str
    path: str
    args: list[str]
    config: ContainerConfig
    host_config: HostConfig
    networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)
    links: dict[str, str] = msgspec.field(default_factory=dict)
    mount_plans: list[MountPlan] = msgspec.field(default_factory=list)
    layers: list[str] = msgspec.field(default_factory=list)
    diff_ids: list[str] = msgspec.field(default_factory=list)
    manifest: Descriptor | None = None
    id_maps: list[IdMap] = msgspec.field(default_factory=list)
    state: State = msgspec.field(default_factory=State)
    restart_count: int = 0
    manually_stopped: bool = False
    log_path: str = ""
    platform: str = "linux"
    driver: str = "overlayfs"

    @property
    def mounts(self) -> list[MountPoint]:
        """The mounts as `inspect` and `ps` show them."""
        return [plan.shown() for plan in self.mount_plans]

    @property
    def short_id(self) -> str:
        """The first 12 characters, as tables show them."""
        return self.id[:12]


class Paths(msgspec.Struct, frozen=True):
    """Where a container's things lie on the host. `merged` is where its root would be seen; `log` "" without one."""

    bundle: Path
    hosts: Path
    hostname: Path
    resolv_conf: Path
    log: Path | str
    merged: Path
    upper: Path
    work: Path


class Created(msgspec.Struct, frozen=True, rename="pascal"):
    """The answer to create."""

    id: str
    warnings: list[str]


class WaitCondition(StrEnum):
    """What `wait` waits for."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


class WaitResult(msgspec.Struct, frozen=True):
    """How a wait ended: the exit code, and the container's error if its process could not be waited for."""

    code: int
    error: str = ""


class Exec(msgspec.Struct):
    """One `docker exec`: its configuration and what became of it. `exit_code` is None until it has ended."""

    id: str
    container: str
    config: ExecConfig
    privileged: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    can_remove: bool = False
    created: float = 0.0


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a log. `tail` None is all; `since` and `until` unix seconds (0.0: no bound)."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
    since: float = 0.0
    until: float = 0.0


class LogRecord(msgspec.Struct, frozen=True):
    """One piece of output. `time` is RFC 3339 with nanoseconds, as the log file has it."""

    stream: str
    time: str
    data: bytes


class Top(msgspec.Struct, frozen=True, rename="pascal"):
    """The processes of a container, as `ps` shows them."""

    titles: list[str]
    processes: list[list[str]]
