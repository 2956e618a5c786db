"""create, start, run, kill and delete."""

from __future__ import annotations

import errno
import os
import time

from dosirak.engine.go import rfc3339
from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import filters, hooks, launch, sealing, state, staying
from dosirak.engine.oci.failure import Failure, warn
from dosirak.engine.runtime import cgroups, container, syscalls
from dosirak.engine.runtime import signals as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Seconds that a killed process may take to end.
_PATIENCE = 10.0


class Request:
    """What `create` and `run` are asked for."""

    __slots__ = (
        *("bundle", "config", "console_socket", "detached", "keep", "keyring", "pid_file", "pidfd_socket"),
        "preserve",
    )

    def __init__(self, bundle: str, *, detached: bool) -> None:
        """Parameters: `detached`: nobody stays with it."""
        self.bundle, self.detached = os.path.abspath(bundle or "."), detached
        self.config = self.pid_file = self.console_socket = self.pidfd_socket = ""
        self.preserve = 0
        """How many descriptors from 3 on the program gets."""
        self.keep = False
        """`run` leaves the state of a container that has ended."""
        self.keyring = True
        """It gets a session keyring of its own."""


def create(root: str, name: str, request: Request) -> None:
    """Make a container whose process waits for `start`. Raises Failure, OSError; nothing of it is left then."""
    _make(root, name, request, waiting=True)


def run(root: str, name: str, request: Request) -> int:
    """Make and start a container; wait for its end unless detached. Its exit status. Raises as `create`."""
    made, launched = _make(root, name, request, waiting=False)
    if request.detached:
        return 0
    try:
        return staying.stay(made.pid, launched.terminal)
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
    try:
        hooks.run(found.document, "poststart", found.public("running"))
    except Failure:  # one that fails is the container's end (runtime.md, "Lifecycle", 9)
        destroy(found)
        raise


def kill(found: state.State, number: int, *, everything: bool) -> None:
    """Signal its first process, or every process in its cgroup: SIGKILL those always that have no pid namespace of
    their own, as runc. Raises Failure: it is not running."""
    # Without a pid namespace of its own the end of its first process is not the others' (pid_namespaces(7)).
    alone = number == signal.SIGKILL and not everything and _shares_pids(found)
    if everything or alone:
        inside = cgroups.processes(found.cgroup)
        if alone and not inside:
            raise Failure("container not running")
        for pid in inside:
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


def _shares_pids(found: state.State) -> bool:
    spaces = found.config()["linux"].get("namespaces") or ()
    return not any(entry["type"] == "pid" and not entry.get("path") for entry in spaces)


def delete(found: state.State, *, force: bool) -> None:
    """Remove what is left of a container. Raises Failure: it runs, and `force` is not asked for."""
    status = found.status()
    if status not in ("stopped", "created") and not force:
        raise Failure(f"cannot delete container {found.id} that is not stopped: {status}")
    if status == "creating" or force:
        cgroups.kill(found.cgroup)
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
        import select

        if not select.select([pidfd], [], [], _PATIENCE)[0]:
            raise Failure(f"container {found.id} does not end")
        os.close(pidfd)
    cgroups.remove(found.cgroup)
    shown = found.public("stopped")
    found.remove()
    _run_last(found.document, shown)


def _run_last(document: dict[str, Any], shown: dict[str, Any]) -> None:
    """The poststop hooks: one that fails is told, and the next runs all the same (runtime.md, "Lifecycle")."""
    for hook in (document.get("hooks") or {}).get("poststop") or ():
        try:
            hooks.run({"hooks": {"poststop": [hook]}}, "poststop", shown)
        except Failure as failure:
            warn(str(failure))


def _make(root: str, name: str, request: Request, *, waiting: bool) -> tuple[state.State, launch.Launched]:
    state.directory_of(root, name)
    config = bundles.load(request.bundle, name, request.config)
    request.preserve = check_preserved(request.preserve)
    staying.check(
        terminal=bool(config["process"].get("terminal")), detached=request.detached, sock=request.console_socket
    )
    if sealing.wanted(config):
        sealing.be_sealed()
    for said in bundles.warnings(config["process"]):
        warn(said)
    if activated := _activated():
        config["process"].setdefault("env", []).extend((f"LISTEN_FDS={activated}", "LISTEN_PID=1"))
    elif request.preserve:
        config["process"].setdefault("env", []).append(f"LISTEN_FDS={request.preserve}")
    directory = state.make(root, name)
    made = state.State(directory, _document(name, request.bundle, config))
    if inside := cgroups.processes(made.cgroup):  # somebody's, and `delete` would end them
        made.remove()
        raise Failure(f"container's cgroup is not empty: {len(inside)} process(es) found")
    launched = None
    try:
        made.save()
        launched = _launch(root, request, config, made.make_fifo() if waiting else -1, name)
        _bring_up(made, launched, request, config)
        if not waiting:
            launched.until_running()
            hooks.run(made.document, "poststart", made.public("running"))
        return made, launched
    except BaseException:
        if launched is not None:
            launched.end()
        cgroups.remove(made.cgroup)
        made.remove()
        _run_last(made.document, made.public("stopped"))
        raise


def _launch(root: str, request: Request, config: dict[str, Any], fifo: int, name: str) -> launch.Launched:
    size, filter_fd = bundles.size_of(config["process"]), filters.find(root, config["linux"])
    if any("tmpcopyup" in (mount.get("options") or ()) for mount in config.get("mounts") or ()):
        from dosirak.engine.runtime import copyup  # noqa: F401  # now: the child is to import nothing
    keyring = f"_ses.{name}" if request.keyring else None
    told = launch.telling(config, id=name)
    return launch.launch(
        lambda: container.prepare(told, request.bundle, join={}, filter_fd=filter_fd, size=size),
        lambda sock: launch.Door(config, sock, fifo=fifo, preserve=request.preserve, keyring=keyring),
        starter=launch.needs_starter(config),
    )


def _bring_up(made: state.State, launched: launch.Launched, request: Request, config: dict[str, Any]) -> None:
    """From the clone to a process that is about to run its program."""
    if launch.needs_pause(config):
        launched.until(b"P")
        made.document["pid"] = launched.pid
        os.chdir(request.bundle)  # where hooks expect to be, as in runc
        for kind in ("prestart", "createRuntime"):
            hooks.run(config, kind, made.public("creating"))
        launched.go_on(made.public("creating"))
    launched.until(b"R")
    made.document |= {"pid": launched.pid, "startTime": state.start_time(launched.pid)}
    launched.set_oom_score(config["process"])
    hand_over(launched, request.console_socket, request.pidfd_socket)
    made.save_config(config)
    made.save()
    if request.pid_file:
        write_pid(request.pid_file, launched.pid)
    launched.go_on(made.public("created") if launch.needs_pause(config) else {})


def _document(name: str, bundle: str, config: dict[str, Any]) -> dict[str, Any]:
    created = rfc3339(time.time_ns())
    return {
        "id": name,
        "pid": 0,
        "startTime": 0,
        "bundle": bundle,
        "rootfs": os.path.normpath(os.path.join(bundle, config["root"]["path"])),
        "created": created,
        "owner": state.user_name(os.getuid()),
        "annotations": config.get("annotations") or {},
        "cgroup": config["linux"]["cgroupsPath"],
        "hooks": {kind: found for kind, found in (config.get("hooks") or {}).items() if kind.startswith("post")},
    }


def _activated() -> int:
    """How many sockets systemd's activation hands us (sd_listen_fds(3)), which are the container's then."""
    number = os.environ.get("LISTEN_FDS", "")
    return int(number) if number.isdecimal() and os.environ.get("LISTEN_PID") in (None, str(os.getpid())) else 0


def check_preserved(number: int) -> int:
    """How many descriptors from 3 on the program gets: those of socket activation, and `number` more that the caller
    hands on. Raises Failure unless they are there."""
    number += _activated()
    for fd in range(3, 3 + number):
        try:
            os.fstat(fd)
        except OSError:
            raise Failure(f"please check that preserved-fd {number} is right: descriptor {fd} is not open") from None
        os.set_inheritable(fd, True)
    # Those our caller left open without saying so end here: they are nobody's business in a container.
    syscalls.close_range(3 + number)
    return number


def hand_over(launched: launch.Launched, console_socket: str, pidfd_socket: str) -> None:
    """The terminal's master, and a pidfd, to whoever wants them ("": nobody). Raises OSError."""
    if console_socket or pidfd_socket or launched.terminal >= 0:
        from dosirak.engine.oci import console

        if launched.terminal >= 0 and not console_socket:
            console.leave_newlines(launched.terminal)  # it is served here, and nothing has been written to it yet
        if console_socket:
            console.hand_over(launched.terminal, console_socket)
        if pidfd_socket:
            console.hand_over(os.pidfd_open(launched.pid), pidfd_socket, b"pidfd")


def write_pid(path: str, pid: int) -> None:
    """Whole or not at all: whoever waits for the file reads it at once."""
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    os.write(fd, str(pid).encode())
    os.close(fd)
    os.rename(beside, path)
