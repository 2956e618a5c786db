"""Starts a process for its monitor, tells it how that went, and ends.

A start touches a hundred times the memory that supervision does, and moves the process that clones into the container's
namespaces. A monitor stays as long as its container: so it leaves the start to a child of its own. The started process
is the monitor's child all the same (CLONE_PARENT).
"""

from __future__ import annotations

import _socket
import errno
import gc
import json
import os
import signal
import time

from dosirak.engine.runtime import (
    cgroupmounts,
    cgroups,
    child,
    container,
    defaults,
    filesystems,
    namespaces,
    process,
    vfork,
)
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.container import StartError
from dosirak.engine.supervision import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# A monitor's word to its starter: the program may run, or must not.
GO, NO = b"+", b"-"
# The order of a process's descriptors in the message that tells of it.
STREAMS = ("pidfd", "stdin", "stdout", "stderr", "terminal", "mounts")


class Request:
    """A launch as the service asks for it, with its descriptors: status, attached clients, joined namespaces, the
    compiled filter, the init's program, and for an exec the pidfd of the container's first process.

    `again`: a restart. The cgroup is there, with its limits as they have been changed meanwhile."""

    def __init__(self, document: dict[str, Any], fds: list[int]) -> None:
        self.document = document
        self.is_exec: bool = document["op"] == "exec"
        self.again = False
        # Each client's socket, and its gate if it has one.
        attached = 1 + sum(1 + entry["gate"] for entry in document["attach"])
        self.status, self.clients, rest = fds[0], fds[1:attached], fds[attached:]
        self.join = dict(zip(document["join"], rest, strict=False))
        rest = rest[len(self.join) :]
        self.filter = rest.pop(0) if document["filter"] else -1
        self.init = rest.pop(0) if document["init"] else -1
        self.target = rest.pop(0) if self.is_exec else -1


def read(data: bytes, fds: list[int]) -> Request:
    """The request in a packet."""
    return Request(wire.unpack(wire.open_long(data, fds)), fds)


def wait(requests: wire.Socket, monitor: wire.Socket, *, for_execs: bool) -> NoReturn:
    """A spare's starter: get ready, wait for a request, hand it on to the monitor, do it.

    Parameters: `requests`: of the service; `monitor`: our parent; `for_execs`: the requests are for execs.
    """
    gc.disable()  # it ends before there is anything to collect
    touch_all()
    ready = None
    if not for_execs:
        try:
            ready = get_ready()
        except OSError:
            pass  # what this host does not allow, the start itself will say
    data, fds = wire.receive(requests)
    if not data:
        os._exit(0)  # the service has ended
    document = wire.unpack(wire.open_long(data, fds))
    spec = document.pop("spec", None)  # the monitor has no use for so much
    if spec is None:
        spec = _read_or_nothing(document["bundle"])
    document["cgroup"] = cgroup_of(spec or {})
    wire.send_long(monitor, wire.pack(document), fds)
    requests.close()
    start(Request(document, fds), monitor, ready, spec)


def touch_all() -> None:
    """Touch what every start touches: a fork's first write to a page copies it."""
    vfork.prepare_stack()
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process.identify({"user": {"username": "root"}}, [], host)
    process.find_program("true", [f"PATH={process.DEFAULT_PATH}"])
    os.close(host)


def get_ready() -> filesystems.Ready:
    """Make what can be made of a new container, and touch what its start touches besides."""
    json.loads(json.dumps({"a": [1, 2.0, "b", None, True]}))
    cgroup = cgroups.get_ready(defaults.DEVICE_RULES, os.getppid())
    namespaces.get_ready(time="time" in defaults.NAMESPACES)
    mounts = defaults.mounts()
    ready = filesystems.Ready(mounts)
    try:
        ready.fill(next(entry for entry in mounts if entry["destination"] == "/dev"))
    except OSError:
        pass  # where mknod is refused, each node is a mount, which a detached tree can't take before kernel 6.15
    if cgroup:
        try:
            entry = next(entry for entry in mounts if entry["type"] == "cgroup")
            cgroupmounts.get_ready(ready, cgroup, entry)
        except OSError:
            pass  # this kernel wants it attached first
    return ready


def start(
    request: Request,
    monitor: wire.Socket,
    ready: filesystems.Ready | None = None,
    spec: dict[str, Any] | None = None,
) -> NoReturn:
    """Do it and tell the monitor: what process there is, or why there is none. `spec`: config.json, if it has come with
    the request."""
    cgroup, shared = "", False
    streams: list[int] = []
    try:
        if spec is None:
            spec = read_spec(request.document["bundle"])
        if not request.is_exec:
            cgroup = cgroup_of(spec)
            if request.again and cgroup:
                spec["linux"].pop("resources", None)
                cgroups.renew(cgroup)  # it may have been paused, and killed from elsewhere
            spaces = (spec.get("linux") or {}).get("namespaces") or ()
            kinds = [entry["type"] for entry in spaces if not entry.get("path")]
            shared = "pid" not in kinds or "pid" in request.join
        started = _launch(request, spec, ready, None if request.again else lambda: _await_word(monitor))
        streams = [getattr(started, name) for name in STREAMS]
        told: dict[str, Any] = {"pid": started.pid, "at": time.time()}
        if not request.again:
            _tell_service(request, told, started.pidfd)
    except StartError as error:
        told = {"error": str(error), "exit_code": error.exit_code, "pid": error.pid}
    except OSError as error:
        told = {"error": child.describe(error), "exit_code": child.exit_code(error), "pid": 0}
    except Exception as error:  # a defect of ours
        told = {"error": f"{type(error).__name__}: {error}", "exit_code": 128, "pid": 0}
    if ready is not None and not cgroups.took_ready():  # a container without a cgroup, or a start that failed before
        cgroups.forget_ready(os.getppid())
    told |= {"cgroup": cgroup, "shared_pids": shared, "streams": [fd >= 0 for fd in streams]}
    wire.send(monitor, wire.pack(told), [fd for fd in streams if fd >= 0])
    os._exit(0)


def _await_word(monitor: wire.Socket) -> None:
    """There is no program without its log, its record, its files. Raises OSError."""
    data, _ = wire.receive(monitor)
    if data != GO:
        raise OSError(errno.ECANCELED, "the start was taken back")


def _tell_service(request: Request, told: dict[str, Any], pidfd: int) -> None:
    """That it has started, ahead of the monitor, which has other things to do yet."""
    message = {"event": "started", **told, "restarts": request.document["restart"]["restarts"]}
    try:
        wire.send(_socket.socket(fileno=request.status), wire.pack(message), [pidfd])
    except OSError:
        pass  # it has ended; the next one hears from the monitor


def _launch(
    request: Request, spec: dict[str, Any], ready: filesystems.Ready | None, before_run: Callable[[], None] | None
) -> container.Process:
    document, (rows, columns) = request.document, request.document["size"]
    stdin, size = document["stdin"], (rows, columns)
    if request.is_exec:
        process = document["process"]
        return container.join(spec, process, request.target, stdin=stdin, filter_fd=request.filter, size=size)
    return container.create(
        *(spec, document["bundle"]),
        join=request.join,
        stdin=stdin,
        filter_fd=request.filter,
        init=request.init,
        size=size,
        ready=ready,
        before_run=before_run,
    )


def cgroup_of(spec: dict[str, Any]) -> str:
    """The path of a container's cgroup, "" without one."""
    path: str = (spec.get("linux") or {}).get("cgroupsPath") or ""
    return path.lstrip("/")


def _read_or_nothing(bundle: str) -> dict[str, Any] | None:
    """config.json; what is wrong with it is said by `start`."""
    try:
        return read_spec(bundle)
    except OSError:
        return None


def read_spec(bundle: str) -> dict[str, Any]:
    """config.json of the bundle at this path. Raises OSError."""
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        try:
            spec = json.loads(file.read())
        except ValueError as error:
            raise OSError(errno.EINVAL, f"config.json: {error}") from error
    if not isinstance(spec, dict):
        raise OSError(errno.EINVAL, "config.json: not a JSON object")
    return spec


def fork(monitor_end: wire.Socket, starter_end: wire.Socket, run: Any) -> int:
    """Fork a starter that calls `run`, which does not return. Its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # Without its monitor it must take no request; one that has died by now is not told of.
            sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(status)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            monitor_end.close()
            run()
        finally:
            os._exit(status)
    starter_end.close()
    return pid
