"""create, start, run, kill and delete."""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import console, filters, hooks, launch, state
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import cgroups, container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Seconds that a killed process may take to end.
_PATIENCE = 10.0


class Request:
    """What `create` and `run` are asked for."""

    __slots__ = ("bundle", "console_socket", "detached", "keep", "pid_file", "preserve")

    def __init__(
        self, bundle: str, *, pid_file: str, console_socket: str, preserve: int, detached: bool, keep: bool = False
    ) -> None:
        """Parameters: `preserve`: how many descriptors from 3 on the program gets; `detached`: nobody stays with it;
        `keep`: `run` leaves the state of a container that has ended."""
        self.bundle, self.pid_file, self.console_socket = os.path.abspath(bundle or "."), pid_file, console_socket
        self.preserve, self.detached, self.keep = preserve, detached, keep


def create(root: str, name: str, request: Request) -> None:
    """Make a container whose process waits for `start`. Raises Failure, OSError; nothing of it is left then."""
    _make(root, name, request, waiting=True)


def run(root: str, name: str, request: Request) -> int:
    """Make and start a container; wait for its end unless detached. Its exit status. Raises as `create`."""
    made, launched = _make(root, name, request, waiting=False)
    if request.detached:
        return 0
    try:
        return console.serve(made.pid, launched.terminal)
    finally:
        if not request.keep:
            destroy(made)


def start(found: state.State) -> None:
    """Let a created container's process run its program. Raises Failure."""
    status = found.status()
    if status == "stopped":
        raise Failure("cannot start a container that has stopped")
    if status != "created":
        raise Failure("cannot start an already running container")
    try:
        fifo = os.open(found.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Failure("cannot start an already running container") from None
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise Failure("cannot start a container that has stopped") from error
    # Gone first: of two at a time one starts it.
    try:
        os.unlink(found.fifo)
    except FileNotFoundError:
        raise Failure("cannot start an already running container") from None
    os.write(fifo, b"0")
    os.close(fifo)
    _after_start(found)


def kill(found: state.State, number: int, *, everything: bool) -> None:
    """Signal its first process, or every process in its cgroup. Raises Failure: it is not running."""
    if everything:
        for pid in cgroups.processes(found.cgroup):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return
    pidfd = found.open_process()
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise Failure("container not running") from None
    finally:
        os.close(pidfd)


def delete(found: state.State, *, force: bool) -> None:
    """Remove what is left of a container. Raises Failure: it runs, and `force` is not asked for."""
    status = found.status()
    if status not in ("stopped", "created") and not force:
        raise Failure(f"cannot delete container {found.id} that is not stopped: {status}")
    destroy(found)


def destroy(found: state.State) -> None:
    """End its processes; remove cgroup and state; run the last hooks."""
    try:
        pidfd = found.open_process()
    except Failure:
        pass
    else:
        cgroups.thaw(found.cgroup)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], _PATIENCE)[0]:
            raise Failure(f"container {found.id} does not end")
        os.close(pidfd)
    cgroups.remove(found.cgroup)
    shown = found.public("stopped")
    found.remove()
    try:
        hooks.run(found.config, "poststop", shown)
    except Failure as failure:
        _warn(failure)


def _make(root: str, name: str, request: Request, *, waiting: bool) -> tuple[state.State, launch.Launched]:
    config = bundles.load(request.bundle, name)
    console.check(
        terminal=bool(config["process"].get("terminal")), detached=request.detached, sock=request.console_socket
    )
    if request.preserve:
        config["process"].setdefault("env", []).append(f"LISTEN_FDS={request.preserve}")
    directory = state.make(root, name)
    made = state.State(directory, _document(name, request.bundle, config))
    if inside := cgroups.processes(made.cgroup):  # somebody's, and `delete` would end them
        made.remove()
        raise Failure(f"container's cgroup is not empty: {len(inside)} process(es) found")
    launched = None
    try:
        fifo = made.make_fifo() if waiting else -1
        prepare = _preparing(config, request.bundle, filters.find(root, config["linux"]))
        launched = launch.launch(prepare, config, fifo=fifo, preserve=request.preserve)
        if launch.needs_pause(config):
            launched.until("pivot")
            made.document["pid"] = launched.pid
            for kind in ("prestart", "createRuntime"):
                hooks.run(config, kind, made.public("creating"))
            launched.go_on(made.public("creating"))
        launched.until("ready")
        made.document |= {"pid": launched.pid, "startTime": state.start_time(launched.pid)}
        if request.console_socket:
            console.hand_over(launched.terminal, request.console_socket)
        made.save()
        if request.pid_file:
            write_pid(request.pid_file, launched.pid)
        launched.go_on(made.public("created") if launch.needs_pause(config) else {})
        if not waiting:
            launched.until_running()
            _after_start(made)
        return made, launched
    except BaseException:
        if launched is not None:
            launched.end()
        cgroups.remove(made.cgroup)
        made.remove()
        raise


def _preparing(config: dict[str, Any], bundle: str, filter_fd: int) -> Callable[[], tuple[Any, int]]:
    size = bundles.size_of(config["process"])
    return lambda: container.prepare(config, bundle, join={}, filter_fd=filter_fd, size=size)


def _document(name: str, bundle: str, config: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z"
    return {
        "id": name,
        "pid": 0,
        "startTime": 0,
        "bundle": bundle,
        "rootfs": os.path.normpath(os.path.join(bundle, config["root"]["path"])),
        "created": created,
        "owner": str(os.getuid()),
        "annotations": config.get("annotations") or {},
        "cgroup": config["linux"]["cgroupsPath"],
        "config": config,
    }


def write_pid(path: str, pid: int) -> None:
    """Whole or not at all: whoever waits for the file reads it at once."""
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    os.write(fd, str(pid).encode())
    os.close(fd)
    os.rename(beside, path)


def _after_start(found: state.State) -> None:
    """A poststart hook that fails is the container's end, as in runc."""
    try:
        hooks.run(found.config, "poststart", found.public("running"))
    except Failure:
        kill(found, signal.SIGKILL, everything=False)
        raise


def _warn(failure: Failure) -> None:
    os.write(2, f"dosirak runtime: warning: {failure}\n".encode("utf-8", "surrogateescape"))
