"""Containers: records, create, start, stop, exec, logs, attach, wait, remove.

`Containers` is the room's door; `model` (with Docker's documents) its plain data; `wire` reads and writes these as
JSON; `spec` turns a record into an OCI config.json; `run_step` runs a build's RUN.
"""

from __future__ import annotations

from dosirak.engine.containers.documents import UpdateRequest
from dosirak.engine.containers.manager import Containers
from dosirak.engine.containers.model import (
    Container,
    ContainerConfig,
    Created,
    CreateRequest,
    EndpointSettings,
    Exec,
    ExecConfig,
    HostConfig,
    LogQuery,
    LogRecord,
    Mount,
    MountPoint,
    NetworkingConfig,
    Paths,
    State,
    Top,
    WaitCondition,
    WaitResult,
)
from dosirak.engine.containers.run_step import Step

__all__ = [
    "Container",
    "ContainerConfig",
    "Containers",
    "CreateRequest",
    "Created",
    "EndpointSettings",
    "Exec",
    "ExecConfig",
    "HostConfig",
    "LogQuery",
    "LogRecord",
    "Mount",
    "MountPoint",
    "NetworkingConfig",
    "Paths",
    "State",
    "Step",
    "Top",
    "UpdateRequest",
    "WaitCondition",
    "WaitResult",
]
