"""A build's RUN: a container that no record names, with the same defaults and walls as `docker run`."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.containers import launching, merge, names, spec
from dosirak.engine.containers.documents import ContainerConfig, HostConfig
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking import files as network_files
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import EngineError, HostLimit, InvalidRequest
from dosirak.engine.supervision.model import Attach, Exit, Launch
from dosirak.engine.supervision.task import Task

if TYPE_CHECKING:
    from dosirak.engine.networks import Sandbox
    from dosirak.engine.runtime.seccomp import Filter

_log = logging.getLogger(__name__)
_SIGKILL = 9
Output = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to run, and where.

    `lowers`: overlay lower directories, the topmost first; `upper` and `work`: the step's own, on one filesystem;
    `network`: "bridge" (or "default"), "none", "host"; `shm_size` in bytes. `id`: 64 hex digits, "" for a new one;
    `limits`: resources as a container's HostConfig has them; `mounts`: further mounts as an OCI config.json has them.
    `private_env`: variables that the process has and no file here names.
    """

    lowers: Sequence[str]
    upper: str | Path
    work: str | Path
    argv: Sequence[str]
    env: Sequence[str] = ()
    cwd: str = "/"
    user: str = ""
    network: str = "bridge"
    hostname: str = "buildkitsandbox"
    extra_hosts: Sequence[str] = ()
    shm_size: int = 64 << 20
    id: str = ""
    limits: HostConfig = field(default_factory=HostConfig)
    mounts: Sequence[Mapping[str, Any]] = ()
    private_env: Sequence[str] = ()


async def run_step(room: Room, step: Step, output: Output) -> int:
    """See `Containers.run_step`."""
    step_id = step.id or names.new_id()
    room.steps.add(step_id)
    try:
        return await _run(room, step_id, step, output)
    finally:
        room.steps.discard(step_id)
        room.bundles.discard(step_id)


async def _run(room: Room, step_id: str, step: Step, output: Output) -> int:
    record, directory = _record(step_id, step), room.bundles.make(step_id)
    mode = record.host_config.network_mode
    sandbox = await room.networks.connect(step_id, record.name, mode, hostname=step.hostname)
    try:
        confined = await launching.choose_filter(room, record.host_config)
        document = _write_bundle(room, record, sandbox, step, confined)
        join = {"network": sandbox.netns_fd} if sandbox.netns_fd is not None else {}
        ours, theirs = socket.socketpair()
        reading = asyncio.create_task(_read(ours, output), name=f"output of step {step_id[:12]}")
        try:
            attach = (Attach(theirs),)
            launch = Launch(id=step_id, bundle=directory, spec=document, join=join, filter=confined, attach=attach)
            end = await _launch_and_wait(room, launch)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    finally:
        try:
            await room.networks.disconnect(step_id)
        except EngineError as error:
            # A step that filled the disk: how it ended is what its build has to hear.
            _log.warning("build step %s: cleaning up after its end: %s", step_id[:12], error)
    return end.code


def _record(step_id: str, step: Step) -> Container:
    """The step as a container's record, which nobody saves."""
    if not step.argv:
        raise InvalidRequest("no command specified")
    config = ContainerConfig(
        hostname=step.hostname, user=step.user, env=list(step.env), working_dir=merge.clean_working_dir(step.cwd)
    )
    network = "bridge" if step.network in ("", "default") else step.network
    host = msgspec.structs.replace(
        step.limits,
        network_mode=network,
        extra_hosts=list(step.extra_hosts),
        shm_size=step.shm_size,
        cgroupns_mode="private",
    )
    return Container(
        id=step_id,
        name=f"step-{step_id[:12]}",
        created=time.time(),
        image="",
        path=step.argv[0],
        args=list(step.argv[1:]),
        config=config,
        host_config=host,
    )


def _write_bundle(room: Room, record: Container, sandbox: Sandbox, step: Step, confined: Filter | None) -> Any:
    directory = room.directory(record.id)
    try:
        network_files.write(room, record, sandbox, directory)
        resolved = dataclasses.replace(
            launching.resolve(room, record, network_files.places(room, record, sandbox), confined),
            lower=step.lowers,
            upper=str(step.upper),
            work=str(step.work),
        )
        document = spec.build(record, resolved)
        document["mounts"] += step.mounts
        launching.write_document(directory, document)
        document["process"]["env"] = [*document["process"]["env"], *step.private_env]
        return launching.without_filter(document)
    except OSError as error:
        raise HostLimit(f"{directory}: {os.strerror(error.errno or 0).lower()}") from error


async def _launch_and_wait(room: Room, launch: Launch) -> Exit:
    """Cancelled at any moment, it takes the process with it."""
    launching_ = asyncio.ensure_future(room.launcher.launch(launch))
    task: Task | None = None
    try:
        task = await asyncio.shield(launching_)
        return await task.wait()
    except asyncio.CancelledError:
        task = task or await launching_
        try:
            task.kill(_SIGKILL)
        except ProcessLookupError:
            pass
        await task.wait()
        raise


async def _read(ours: socket.socket, output: Output) -> None:
    """Take the frames (1 stdout, 2 stderr) apart until the monitor hangs up."""
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        while True:
            head = await reader.readexactly(8)
            output(head[0], await reader.readexactly(int.from_bytes(head[4:], "big")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()
