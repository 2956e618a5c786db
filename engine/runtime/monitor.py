"""One a container (or exec): starts the process, holds its streams, writes its log, reaps it, notes how it ended, and
applies the restart policy. Nothing here depends on the engine service: it may be killed and come back.

A monitor is a fork of the launcher; `services` is how it talks to the service.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time

from dosirak.engine.runtime import cgroups, child, clients, container, defaults, devices, rootfs, streams
from dosirak.engine.runtime import loop as loops
from dosirak.engine.runtime.jsonlog import JsonLog
from dosirak.engine.runtime.services import Services, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

EXIT_FILE = "exit.json"

# Docker's back-off between restarts: doubles from 100 ms to a minute, starts again after 10 s of running.
_FIRST_DELAY, _LONGEST_DELAY, _GOOD_RUN = 0.1, 60.0, 10.0


class Monitor:
    """The supervisor of one process."""

    def __init__(self, request: dict[str, Any], fds: list[int], spare: container.Child | None) -> None:
        """Parameters: `request` as the client sends it, `fds` in its order: status, attached clients, joined
        namespaces, the compiled filter, the init's program, and for an exec the pidfd of the container's first process;
        `spare`: a child cloned already."""
        self._request, self._fds, self._spare = request, fds, spare
        self._is_exec = request["op"] == "exec"
        self._spec: dict[str, Any] = {}
        self._bundle = -1
        self._loop = loops.Loop()
        self._services = Services(self._loop, self._heard, self._present)
        self._services.add(socket.socket(fileno=fds[0]))
        self._join: dict[str, int] = {}
        self._filter = self._init = -1
        self._target = -1
        self._policy = request["restart"]
        self._restarts = self._policy["restarts"]
        self._delay = _FIRST_DELAY
        self._process: container.Process | None = None
        self._started_at = 0.0
        self._tried_at = 0.0
        self._oom_kills = 0
        self._finished = False

    def run(self) -> None:
        """Start the process and stay with it until it has ended for good."""
        try:
            self._prepare()
            if self._start():
                self._loop.run()
        except OSError as error:
            self._fail(child.describe(error), child.exit_code(error))
        except Exception as error:
            report(error)
            self._fail(f"{type(error).__name__}: {error}")
        self._services.finish()

    def _prepare(self) -> None:
        """Open what the request names. Raises OSError."""
        request, fds = self._request, self._fds
        self._bundle = os.open(request["bundle"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not self._is_exec:
            # Before the launch: a service that comes up in its middle must find it.
            self._services.listen(self._bundle)
        self._spec = self._read_spec()
        log = request.get("log")
        self._log = JsonLog(log["path"], log["max_size"], log["max_files"]) if log else None
        self._pump = streams.Pump(self._loop, self._log, self._services.log_grew)
        self._pump.stdin_once = request["stdin_once"]
        attached = len(request["attach"])
        for entry, fd in zip(request["attach"], fds[1:], strict=False):
            self._attach(entry, fd, bytes.fromhex(entry["initial"]))
        rest = fds[1 + attached :]
        self._join = dict(zip(request["join"], rest, strict=False))
        if request["filter"]:
            self._filter = rest[len(request["join"])]
            # It stands for the document's part: 40 kB less to hold and to hand on.
            (self._spec.get("linux") or {}).pop("seccomp", None)
        self._target = rest[-1] if self._is_exec else -1
        self._init = rest[-1] if request["init"] else -1

    def _read_spec(self) -> dict[str, Any]:
        fd = os.open("config.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._bundle)
        with open(fd, "rb") as file:
            try:
                spec = json.loads(file.read())
            except ValueError as error:
                raise OSError(errno.EINVAL, f"config.json: {error}") from error
        if not isinstance(spec, dict):
            raise OSError(errno.EINVAL, "config.json: not a JSON object")
        return spec

    # Life of the process

    def _start(self) -> bool:
        self._tried_at = time.monotonic()
        try:
            self._process = self._launch()
        except container.StartError as error:
            self._end(error.exit_code, error=str(error))
            return False
        self._started_at = time.time()
        self._pump.start(self._process)
        self._loop.watch(self._process.pidfd, loops.IN, lambda _events: self._exited())
        self._services.tell(*self._present())
        return True

    def _launch(self) -> container.Process:
        request, size = self._request, tuple(self._request["size"])
        if self._is_exec:
            return container.join(
                *(self._spec, request["process"], self._target),
                stdin=request["stdin"],
                filter_fd=self._filter,
                size=(size[0], size[1]),
            )
        spare, self._spare = self._spare, None
        return container.create(
            *(self._spec, request["bundle"]),
            join=self._join,
            stdin=request["stdin"],
            filter_fd=self._filter,
            size=(size[0], size[1]),
            spare=spare,
            init=self._init,
        )

    def _exited(self) -> None:
        process = self._process
        assert process is not None
        _, status = os.waitpid(process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._loop.forget(process.pidfd)
        os.close(process.pidfd)
        self._pump.end()
        self._process = None
        self._end(code if code >= 0 else 128 - code)

    def _end(self, code: int, error: str = "") -> None:
        """The process is gone or never was: start it again, or note the end and go."""
        kills = cgroups.oom_kills(self._cgroup()) if self._cgroup() else 0
        oom, self._oom_kills = kills > self._oom_kills, kills
        ended = {"code": code, "oom": oom, "at": time.time(), "error": error, "restarts": self._restarts}
        # What can't be started any more is not tried again: so does Docker.
        if self._started_at and not error and self._wants_restart(code):
            self._restart_later(ended)
        else:
            self._finish(ended)

    def _finish(self, ended: dict[str, Any]) -> None:
        self._finished = True
        self._loop.stop()
        if self._started_at:
            if not self._is_exec:
                self._note_exit(ended)
            self._services.tell({"event": "exited", **ended})
            self._pump.close()
        if self._cgroup():
            cgroups.remove(self._cgroup())
        if not self._started_at:
            # Last: it may be tried again at once, with the same cgroup. Whoever asked also tells the clients why; this
            # process's end lets go of them.
            self._services.tell({"event": "failed", **ended})

    def _fail(self, error: str, code: int = 128) -> None:
        """We can't go on: then the process, which nobody else would reap, can't either."""
        if self._finished:
            return
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            os.waitpid(self._process.pid, 0)
        self._policy = {"policy": "no", "max_retries": 0}
        self._end(137 if self._process else code, error)

    def _cgroup(self) -> str:
        """The cgroup this monitor owns; an exec only visits its container's."""
        path: str = "" if self._is_exec else (self._spec.get("linux") or {}).get("cgroupsPath") or ""
        return path.lstrip("/")

    def _note_exit(self, ended: dict[str, Any]) -> None:
        """Beside and renamed: a reader sees all or nothing. Not fsynced: after a power failure no container of this
        boot runs anyway, and the service then records that."""
        beside = EXIT_FILE + ".new"
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._bundle)
            with open(fd, "wb", buffering=0) as file:
                file.write(json.dumps(ended).encode())
            os.rename(beside, EXIT_FILE, src_dir_fd=self._bundle, dst_dir_fd=self._bundle)
        except OSError:
            pass  # disk full or the bundle removed under us: the service, if there is one, is told all the same

    # Restart policy

    def _wants_restart(self, code: int) -> bool:
        policy, most = self._policy["policy"], self._policy["max_retries"]
        if policy == "on-failure":
            return code != 0 and (most == 0 or self._restarts < most)
        return policy in ("always", "unless-stopped")

    def _restart_later(self, ended: dict[str, Any]) -> None:
        if time.monotonic() - self._tried_at >= _GOOD_RUN:
            self._delay = _FIRST_DELAY
        self._services.tell({"event": "restarting", **ended})
        self._pump.close()
        kinds = [entry["type"] for entry in self._spec["linux"].get("namespaces") or () if not entry.get("path")]
        if self._cgroup() and ("pid" not in kinds or "pid" in self._join):
            cgroups.kill(self._cgroup())  # elsewhere the kernel does it when the first process ends
        self._last_end = ended
        self._loop.after(self._delay, self._restart)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _restart(self) -> None:
        if self._policy["policy"] == "no":
            self._finish(self._last_end)
            return
        self._restarts += 1
        self._start()

    # Services

    def _present(self) -> tuple[dict[str, Any], int]:
        """What a service is told of the process, with its pidfd; between two runs, with their network namespace."""
        process = self._process
        if process is None:
            return {"event": "restarting", **self._last_end}, self._join.get("network", -1)
        state = {"event": "started", "pid": process.pid, "at": self._started_at, "restarts": self._restarts}
        return state, process.pidfd

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        op = message["op"]
        if op == "attach" and fds:
            initial = b""
            if len(fds) > 1:
                with open(fds[1], "rb") as file:
                    file.seek(0)
                    initial = file.read()
            self._attach(message, fds[0], initial)
        elif op == "resize":
            self._resize(message["rows"], message["columns"])
        elif op == "policy":
            self._policy = message["restart"]
        elif op == "no_restart":
            self._policy = {"policy": "no", "max_retries": 0}
            if self._process is None and not self._finished:
                self._loop.after(0.0, self._restart)

    # Streams

    def _attach(self, entry: dict[str, Any], fd: int, initial: bytes) -> None:
        wants = {number for number, name in ((1, "stdout"), (2, "stderr")) if entry[name]}
        client = clients.Client(
            socket.socket(fileno=fd),
            stdin=entry["stdin"],
            wants=wants,
            framed=entry["framed"],
            detach_keys=bytes.fromhex(entry["detach_keys"]),
        )
        self._pump.attach(client, initial)

    def _resize(self, rows: int, columns: int) -> None:
        self._request["size"] = (rows, columns)
        if self._pump.terminal >= 0:
            try:
                devices.set_size(self._pump.terminal, rows, columns)
            except OSError:
                pass


def warm_up() -> None:
    """In a spare: touch what every start touches; the first write to a page after a fork copies it."""
    json.loads(json.dumps({"a": [1, 2.0, "b", None, True]}))
    loop = loops.Loop()
    log = JsonLog(os.devnull)
    log.write("stdout", b"line\n")
    log.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    services = Services(loop, lambda _message, _fds: None, lambda: ({}, -1))
    services.add(theirs)
    services.tell({"event": "started"})
    streams.Pump(loop, None, services.log_grew)
    clients.Client(ours, stdin=True, wants={1, 2}, framed=True, detach_keys=b"").put(1, b"line\n")
    rootfs.open_binds({"mounts": defaults.mounts()})  # none among them
    ours.close()
    theirs.close()


def main(request: dict[str, Any], fds: list[int], spare: container.Child | None) -> NoReturn:
    """The whole life of a monitor process, from the moment it has something to do."""
    status = 0
    try:
        os.setsid()
        os.umask(0o022)
        Monitor(request, fds, spare).run()
    except BaseException as error:
        status = 1
        report(error)
    os._exit(status)
