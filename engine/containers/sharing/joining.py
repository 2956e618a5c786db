"""The namespaces that a container does not make itself when it starts: other containers', and its user namespace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.live import alive
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.room import Room
from dosirak.engine.containers.sharing import ids, modes
from dosirak.engine.containers.sharing.ids import IdMap
from dosirak.engine.errors import Conflict, EngineError, HostLimit, InvalidRequest, NotFound, NotSupported
from dosirak.engine.runtime import privilege, usermaker

_FILES = {"network": "net", "ipc": "ipc", "pid": "pid", "user": "user"}
_MODES = {"network": "network_mode", "ipc": "ipc_mode", "pid": "pid_mode", "user": "userns_mode"}


# At a container's create


def resolve(room: Room, host: HostConfig) -> None:
    """`container:NAME` becomes `container:ID`: the link survives a rename.

    Raises InvalidRequest for one that isn't there (a client takes NotFound for the image's); not for a network, which
    may be that of a container to be made before the start.
    """
    for kind, field in _MODES.items():
        if name := modes.target(getattr(host, field)):
            try:
                setattr(host, field, f"container:{room.table.find(name).record.id}")
            except NotFound as error:
                if kind != "network":
                    raise InvalidRequest(str(error)) from error


def allot(room: Room, record: Container) -> None:
    """Give a new container its user ids. Raises InvalidRequest, HostLimit; `Room.ids` has them from then on."""
    mode = modes.user_mode(record.host_config.userns_mode)
    if not mode.own:
        return
    if privilege.here().confined:
        raise NotSupported(
            f'userns mode "{record.host_config.userns_mode}" needs an engine that runs as the host\'s root: only'
            " that can show an image's files with other owners (idmapped mounts)"
        )
    _check_company(room, record, mode)
    if mode.kind == "auto":
        record.id_maps = room.ids.allot(record.id, mode.size)
        return
    record.id_maps = list(ids.SAME if mode.kind == "keep-id" else room.table.find(mode.other).record.id_maps)
    if not record.id_maps:
        raise InvalidRequest(f"container {mode.other} has no user namespace of its own")
    room.ids.hold(record.id, record.id_maps)


def _check_company(room: Room, record: Container, mode: modes.UserMode) -> None:
    """Only its own root can put a process into a namespace."""
    donor = _donor(room, mode.other) if mode.kind == "container" else record.id
    for kind, field in _MODES.items():
        other = modes.target(getattr(record.host_config, field))
        if other and kind != "user" and _donor(room, other) != donor:
            raise InvalidRequest(
                f"cannot join {kind} namespace of container {other}: it belongs to another user namespace (hint: use"
                f" UsernsMode:container:{other[:12]})"
            )


def _donor(room: Room, ref: str) -> str:
    """The container whose user namespace a container is in, "" for the host's. Raises InvalidRequest."""
    try:
        record = room.table.find(ref).record
    except NotFound as error:
        raise InvalidRequest(str(error)) from error
    while other := modes.target(record.host_config.userns_mode):
        record = room.table.find(other).record
    return record.id if record.id_maps else ""


# At its start


async def join(room: Room, record: Container, undo: AsyncExitStack) -> tuple[dict[str, int], int | None]:
    """The descriptors of what a container that starts joins, by type; and that of a network namespace it is to have.

    `undo` closes all of them. Raises Conflict, EngineError, HostLimit.
    """
    found: dict[str, int] = {}
    resolve(room, record.host_config)
    for kind, field in _MODES.items():
        if other := modes.target(getattr(record.host_config, field)):
            found[kind] = _open(room, record, kind, other)
            undo.callback(os.close, found[kind])
    if not record.id_maps:
        return found, None
    user, network = await _make_user(record.id_maps, found.get("user"))
    undo.callback(os.close, user)
    if "user" not in found:
        found["user"] = user
    return found, network


def _open(room: Room, record: Container, kind: str, ref: str) -> int:
    """A descriptor of a running container's namespace."""
    try:
        other = room.table.find(ref)
    except NotFound as error:
        raise EngineError(f"joining {kind} namespace of container: {error}") from error
    if other.record.id == record.id:
        raise EngineError(f"cannot join own {kind} namespace")
    if other.record.state.restarting:
        text = f"Container {other.record.id} is restarting, wait until the container is running"
        raise Conflict(f"cannot join network namespace of container: {text}" if kind == "network" else text)
    task = other.task
    refusal = _down(kind, other.record)
    if task is None or task.pidfd < 0:
        raise refusal
    try:
        fd = os.open(f"/proc/{task.pid}/ns/{_FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise refusal from error
    if task.exited or not alive(task.pidfd):
        # The number may be another process's by now.
        os.close(fd)
        raise refusal
    return fd


def _down(kind: str, other: Container) -> EngineError:
    """The refusal for a container that does not run, in Docker's words and with its status."""
    if kind == "network":
        text = f"container {other.name} is {other.state.status}"
        return Conflict(f"cannot join network namespace of a non running container: {text}")
    text = f"container {other.id} is not running"
    return EngineError(f"failed to join {kind.upper()} namespace: {text}") if kind in ("pid", "ipc") else Conflict(text)


async def _make_user(maps: Sequence[IdMap], existing: int | None) -> tuple[int, int]:
    """Descriptors of a user namespace (`existing`'s own again) and of a network namespace that belongs to it.

    Raises HostLimit, and holds nothing then.
    """
    what = ",".join(f"{one.inside}:{one.outside}:{one.size}" for one in maps) if existing is None else str(existing)
    ours, theirs = socket.socketpair()
    fds: list[int] = []
    with ours, theirs:
        try:
            reason = await _run_maker(theirs, what, () if existing is None else (existing,))
            theirs.close()
            _, fds, _, _ = socket.recv_fds(ours, 1, 2, socket.MSG_DONTWAIT)
        except OSError as error:
            raise HostLimit(f"can't make a user namespace: {os.strerror(error.errno or 0).lower()}") from error
    if reason or len(fds) != 2:
        for fd in fds:
            os.close(fd)
        raise HostLimit(f"can't make a user namespace: {reason or 'no answer'}")
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds[0], fds[1]


async def _run_maker(answer: socket.socket, what: str, passed: Sequence[int]) -> str:
    """Run `usermaker` to its end; why it failed, "" when it did not. Raises OSError where it can't be started."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-E", "-I", usermaker.__file__, str(answer.fileno()), what),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=[answer.fileno(), *passed],
        env={},
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    if not process.returncode:
        return ""
    return said.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with {process.returncode}"
