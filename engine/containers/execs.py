"""`exec`: further processes in a running container."""

from __future__ import annotations

import asyncio
import os
import re
import select
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dosirak.engine.containers import checks, launching, merge, names, security, spec
from dosirak.engine.containers.live import Live, LiveExec, alive
from dosirak.engine.containers.model import Container, Exec, ExecConfig
from dosirak.engine.containers.networking import links
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.security import apparmor
from dosirak.engine.errors import Conflict, EngineError, HostLimit, InvalidRequest, NotFound, StartFailed
from dosirak.engine.layers.threads import run_thread
from dosirak.engine.runtime import users
from dosirak.engine.supervision.model import Attach, Exit, Launch
from dosirak.engine.supervision.task import Task

# Seconds for which a resize waits for a command to be started (moby daemon/resize.go).
_START_SECONDS = 10.0
_NUMBERS = re.compile(r"\d+(:\d+)?")


def create(room: Room, live: Live, ref: str, config: ExecConfig) -> str:
    """See `Containers.exec_create`."""
    _check_running(live, ref)
    if not config.cmd:
        raise InvalidRequest("No exec command specified")
    checks.check_environment(config.env or [])
    if any("\0" in word for word in [*config.cmd, config.user, config.working_dir]):
        raise InvalidRequest("invalid exec command: contains a NUL character")
    if config.working_dir:
        config.working_dir = merge.clean_working_dir(config.working_dir)
    record = Exec(names.new_id(), live.record.id, config, privileged=config.privileged, created=time.time())
    room.execs[record.id] = LiveExec(record)
    _tell(room, live, record, "exec_create")
    return record.id


async def check_user(live: Live, ref: str, user: str) -> None:
    """See `Containers.exec_check_user`."""
    _check_running(live, ref)
    task = live.task
    if user and task is not None and not _NUMBERS.fullmatch(user):
        # A thread of its own: whoever is in there may make a file that nobody ever finishes reading.
        await run_thread(partial(_look_up, task, user))


def _look_up(task: Task, user: str) -> None:
    try:
        root = os.open(f"/proc/{task.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # it is ending
    try:
        if alive(task.pidfd):  # else the number may be another process's by now
            users.resolve(root, user)
    except users.UnknownUser as error:
        raise InvalidRequest(str(error)) from error
    finally:
        os.close(root)


def _check_running(live: Live, ref: str) -> None:
    state = live.record.state
    if not state.running or live.task is None:
        raise Conflict(f"container {live.record.id} is not running")
    if state.paused:
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
    if state.restarting:
        raise Conflict(f"Container {live.record.id} is restarting, wait until the container is running")


def _tell(room: Room, live: Live, record: Exec, action: str) -> None:
    command = " ".join(record.config.cmd or ())
    room.tell(live, f"{action}: {command}", {"execID": record.id})


def find(room: Room, exec_id: str) -> LiveExec:
    """Raises NotFound "No such exec instance: x"."""
    try:
        return room.execs[exec_id]
    except KeyError:
        raise NotFound(f"No such exec instance: {exec_id}") from None


async def start(room: Room, exec_id: str, attach: Attach | None, size: tuple[int, int] | None) -> None:
    """See `Containers.exec_start`."""
    found = find(room, exec_id)
    record = found.record
    live = room.table.find(record.container)
    _check_running(live, record.container)
    if record.exit_code is not None:
        raise Conflict(f"exec command {exec_id} has already run")
    if record.running:
        raise Conflict(f"exec command {exec_id} is already running")
    record.running = True
    _tell(room, live, record, "exec_start")
    try:
        found.task = await _launch(room, live, record, attach, size)
    except EngineError as error:
        record.running = False
        record.exit_code = error.exit_code if isinstance(error, StartFailed) else 126
        _forget_later(room, found)
        if isinstance(error, StartFailed) and (live.task is None or live.task.ending):
            # Into a container that was ending; what went wrong in there is of no interest.
            raise Conflict(f"container {live.record.id} is not running") from error
        raise
    else:
        record.pid = found.task.pid
        # At once, not by a task: a client whose stream has ended asks for the exit code next.
        found.task.on_exit = lambda end, _: _ended(room, live, found, end)
        found.task.on_detach = lambda: room.tell(live, "exec_detach", {"execID": record.id})
    finally:
        found.started.set()


async def settle(room: Room, exec_id: str) -> None:
    """Wait until an end that the kernel knows of is known here.

    A client sees its stream end before the monitor's message has made its way through a busy event loop, and asks for
    the exit code at once. Raises NotFound.
    """
    found = find(room, exec_id)
    if not found.record.running:
        return
    await found.started.wait()
    task = found.task
    if task is not None and task.pidfd >= 0:
        poll = select.poll()
        poll.register(task.pidfd, select.POLLIN)
        if poll.poll(0):
            await task.wait()


async def _launch(room: Room, live: Live, record: Exec, attach: Attach | None, size: tuple[int, int] | None) -> Task:
    config, task = record.config, live.task
    if task is None or task.pidfd < 0:
        raise Conflict(f"container {live.record.id} is not running")
    launch = Launch(
        id=record.id,
        bundle=room.directory(live.record.id),
        stdin=config.attach_stdin and attach is not None,
        stdin_once=True,
        attach=(attach,) if attach is not None else (),
        filter=await launching.choose_filter(room, live.record.host_config),
        size=size or config.console_size,
    )
    joined = _read_joined(launch.bundle / "config.json", task.pid)
    return await room.launcher.exec(launch, task.pidfd, process(room, live.record, config), joined)


class _Linux(msgspec.Struct, rename="camel", omit_defaults=True):
    namespaces: list[dict[str, str]] = []
    cgroups_path: str = ""
    seccomp: msgspec.Raw = msgspec.Raw()


class _Joined(msgspec.Struct):
    linux: _Linux = msgspec.field(default_factory=_Linux)
    annotations: dict[str, str] = {}


_decode = msgspec.json.Decoder(_Joined).decode


def _read_joined(path: Path, pid: int) -> dict[str, Any]:
    """What an exec needs of the container's config.json. Read here: a starter takes five times as long for the whole.

    Parameters: `pid`: of its first process. Raises Conflict.
    """
    try:
        found = _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise Conflict(f"container {path.parent.name}: config.json can't be read: {error}") from error
    linux: dict[str, Any] = {"namespaces": found.linux.namespaces, "cgroupsPath": found.linux.cgroups_path}
    if bytes(found.linux.seccomp) not in (b"", b"null"):  # then a filter must come with the request
        state = {"id": path.parent.name, "bundle": str(path.parent), "status": "running", "pid": pid}
        linux["seccomp"] = security.told(bytes(found.linux.seccomp), **state)
    return {"linux": linux, "annotations": found.annotations}


def process(room: Room, container: Container, config: ExecConfig) -> dict[str, Any]:
    """The OCI process object: the container's own, with what the exec asks for in its place."""
    host, user = container.host_config, config.user or container.config.user
    options = security.parse_security_options(host.security_opt or (), apparmor=room.facts.apparmor)
    own = security.choose_capabilities(host, room.facts.capabilities)
    names_ = room.facts.capabilities if config.privileged else own
    # As in Docker the container's own, with --privileged too.
    profile = apparmor.profile_of(host, options.apparmor, supported=room.facts.apparmor)
    found = spec.process(container, names_, no_new_privileges=options.no_new_privileges, apparmor=profile)
    found |= {
        "terminal": config.tty,
        "user": {"username": user or "0"},
        "args": list(config.cmd or ()),
        "env": merge.environment(
            container.config,
            container.config.hostname,
            config.env or (),
            tty=config.tty,
            linked=links.environment(room, container),
        ),
        "cwd": config.working_dir or container.config.working_dir or "/",
        "capabilities": spec.capability_sets(names_, user),
    }
    found.pop("consoleSize", None)
    return found


def _ended(room: Room, live: Live, found: LiveExec, end: Exit) -> None:
    record = found.record
    record.running, record.exit_code = False, end.code
    found.task = None
    if live.record.id in room.table:
        room.tell(live, "exec_die", {"execID": record.id, "exitCode": str(end.code)})
        _forget_later(room, found)


def _forget_later(room: Room, found: LiveExec) -> None:
    if found.kept:
        asyncio.get_running_loop().call_later(found.kept, room.execs.pop, found.record.id, None)
    else:
        room.execs.pop(found.record.id, None)


async def resize(room: Room, exec_id: str, rows: int, columns: int) -> None:
    """See `Containers.exec_resize`."""
    found = find(room, exec_id)
    _check_running(room.table.find(found.record.container), found.record.container)
    try:
        # A client asks for it at the very moment when it starts the command.
        await asyncio.wait_for(found.started.wait(), _START_SECONDS)
    except TimeoutError:
        raise HostLimit("timeout waiting for exec session ready") from None
    if found.task is None:
        raise Conflict(f"exec command {exec_id} is not running")
    try:
        await found.task.resize(rows, columns)
    except ProcessLookupError:
        pass
