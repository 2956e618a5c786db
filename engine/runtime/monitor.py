"""One a container (or exec): starts the process, holds its streams, writes its log, reaps it, notes how it ended, and
applies the restart policy. Nothing here depends on the engine service: it may be killed and come back.

A monitor is a fork of the launcher. It speaks JSON messages over SOCK_SEQPACKET: with the service that asked for the
launch over a socket that came with the request, with later ones over `monitor.sock` in the bundle.

    to the service   started, failed, restarting, exited, log
    from it          attach (+ socket), resize, follow, no_restart
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time

from dosirak.engine.runtime import cgroups, clients, container, devices, streams
from dosirak.engine.runtime import loop as loops
from dosirak.engine.runtime.jsonlog import JsonLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

SOCKET, EXIT_FILE = "monitor.sock", "exit.json"
_MESSAGE = 1 << 16

# Docker's back-off between restarts: doubles from 100 ms to a minute, starts again after 10 s of running.
_FIRST_DELAY, _LONGEST_DELAY, _GOOD_RUN = 0.1, 60.0, 10.0


class Monitor:
    """The supervisor of one process."""

    def __init__(self, request: dict[str, Any], fds: list[int], spare: container.Child | None) -> None:
        """Parameters: `request` as the client sends it, `fds` in its order: status, attached clients, joined
        namespaces, and for an exec the pidfd of the container's first process; `spare`: a child cloned already."""
        self._spare = spare
        self._request = request
        self._is_exec = request["op"] == "exec"
        self._bundle = os.open(request["bundle"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._spec = self._read_spec()
        self._loop = loops.Loop()
        log = request.get("log")
        self._log = JsonLog(log["path"], log["max_size"], log["max_files"]) if log else None
        self._seen = 0  # grows with the log; what followers have seen is told by this number
        self._followers: dict[socket.socket, int] = {}
        self._pump = streams.Pump(self._loop, self._log, self._log_grew)
        self._pump.stdin_once = request["stdin_once"]
        self._services: list[socket.socket] = []
        self._add_service(socket.socket(fileno=fds[0]))
        attached = len(request["attach"])
        for entry, fd in zip(request["attach"], fds[1:], strict=False):
            self._attach(entry, fd)
        rest = fds[1 + attached :]
        self._join = dict(zip(request["join"], rest, strict=False))
        self._target = rest[-1] if self._is_exec else -1
        self._policy = request["restart"]
        self._restarts = 0
        self._delay = _FIRST_DELAY
        self._listener: socket.socket | None = None
        self._process: container.Process | None = None
        self._started_at = 0.0

    def run(self) -> None:
        """Start the process and stay with it until it has ended for good."""
        if not self._start():
            return
        self._loop.run()

    def _read_spec(self) -> dict[str, Any]:
        fd = os.open("config.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._bundle)
        with open(fd, "rb") as file:
            spec: dict[str, Any] = json.loads(file.read())
        return spec

    # Life of the process

    def _start(self) -> bool:
        try:
            self._process = self._launch()
        except container.StartError as error:
            self._end(error.exit_code, error=str(error))
            return False
        self._started_at = time.time()
        self._pump.start(self._process)
        self._loop.watch(self._process.pidfd, loops.IN, lambda _events: self._exited())
        if self._listener is None and not self._is_exec:
            self._listen()
        self._tell(self._state("started"), self._process.pidfd)
        return True

    def _launch(self) -> container.Process:
        request, size = self._request, tuple(self._request["size"])
        if self._is_exec:
            return container.join(
                self._spec, request["process"], self._target, stdin=request["stdin"], size=(size[0], size[1])
            )
        spare, self._spare = self._spare, None
        return container.create(
            self._spec, request["bundle"], join=self._join, stdin=request["stdin"], size=(size[0], size[1]), spare=spare
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
        cgroup = self._cgroup()
        oom = bool(cgroup) and cgroups.oom_kills(cgroup) > 0
        ended = {"code": code, "oom": oom, "at": time.time(), "error": error, "restarts": self._restarts}
        if self._wants_restart(code) and self._started_at:
            self._restart_later(ended)
            return
        if not self._is_exec:
            self._note_exit(ended)
        self._tell({"event": "exited" if self._started_at else "failed", **ended})
        if self._started_at:
            self._pump.close()
        # Else whoever asked still has to tell the clients why; this process's end lets go of them.
        if cgroup:
            cgroups.remove(cgroup)
        self._loop.stop()

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
        if time.time() - self._started_at >= _GOOD_RUN:
            self._delay = _FIRST_DELAY
        self._tell({"event": "restarting", **ended})
        self._pump.close()
        self._last_end = ended
        self._loop.after(self._delay, self._restart)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _restart(self) -> None:
        if self._policy["policy"] == "no":
            ended = self._last_end
            self._end(ended["code"], ended["error"])
            return
        self._restarts += 1
        self._start()

    # Services

    def _listen(self) -> None:
        # bind(2) takes 107 bytes of path: a name in the working directory is always short enough.
        os.fchdir(self._bundle)
        try:
            os.unlink(SOCKET)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(SOCKET)
        listener.listen(4)
        listener.setblocking(False)
        os.chdir("/")
        self._listener = listener
        self._loop.watch(listener.fileno(), loops.IN, lambda _events: self._accept())

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            service, _ = self._listener.accept()
        except OSError:
            return
        credentials = service.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (0, os.geteuid()):
            service.close()
            return
        self._add_service(service)
        if self._process:
            self._send(service, self._state("started"), self._process.pidfd)
        else:
            self._send(service, {"event": "restarting", **self._last_end})

    def _add_service(self, service: socket.socket) -> None:
        service.setblocking(False)
        self._services.append(service)
        self._loop.watch(service.fileno(), loops.IN, lambda _events: self._serve(service))

    def _drop_service(self, service: socket.socket) -> None:
        if service in self._services:
            self._services.remove(service)
            self._followers.pop(service, None)
            self._loop.forget(service.fileno())
            service.close()

    def _serve(self, service: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(service, _MESSAGE, 8)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._drop_service(service)
            return
        message = json.loads(data)
        op = message["op"]
        if op == "attach" and fds:
            self._attach(message, fds[0])
        elif op == "resize":
            self._resize(message["rows"], message["columns"])
        elif op == "follow":
            self._followers[service] = message["seen"]
            self._tell_followers()
        elif op == "no_restart":
            self._policy = {"policy": "no", "max_retries": 0}
            if self._process is None:
                self._loop.after(0.0, self._restart)

    def _state(self, event: str) -> dict[str, Any]:
        pid = self._process.pid if self._process else 0
        return {"event": event, "pid": pid, "at": self._started_at, "restarts": self._restarts}

    def _tell(self, message: dict[str, Any], fd: int = -1) -> None:
        for service in list(self._services):
            self._send(service, message, fd)

    def _send(self, service: socket.socket, message: dict[str, Any], fd: int = -1) -> None:
        try:
            socket.send_fds(service, [json.dumps(message).encode()], [fd] if fd >= 0 else [])
        except OSError:
            self._drop_service(service)

    # Streams

    def _attach(self, entry: dict[str, Any], fd: int) -> None:
        wants = {number for number, name in ((1, "stdout"), (2, "stderr")) if entry[name]}
        client = clients.Client(
            socket.socket(fileno=fd),
            stdin=entry["stdin"],
            wants=wants,
            framed=entry["framed"],
            detach_keys=bytes.fromhex(entry["detach_keys"]),
        )
        self._pump.attach(client, bytes.fromhex(entry["initial"]))

    def _resize(self, rows: int, columns: int) -> None:
        self._request["size"] = (rows, columns)
        if self._pump.terminal >= 0:
            try:
                devices.set_size(self._pump.terminal, rows, columns)
            except OSError:
                pass

    def _log_grew(self) -> None:
        self._seen += 1
        if self._followers:
            self._tell_followers()

    def _tell_followers(self) -> None:
        """A follower is told once, and again after it has asked again: no queue can grow."""
        for service, seen in list(self._followers.items()):
            if seen != self._seen:
                del self._followers[service]
                self._send(service, {"event": "log", "seen": self._seen})


def warm_up() -> None:
    """In a spare: touch what every start touches; the first write to a page after a fork copies it."""
    json.loads(json.dumps({"a": [1, 2.0, "b", None, True]}))
    loops.Loop()
    log = JsonLog(os.devnull)
    log.write("stdout", b"line\n")
    log.close()


def main(request: dict[str, Any], fds: list[int], spare: container.Child | None) -> NoReturn:
    """The whole life of a monitor process, from the moment it has something to do."""
    status = 0
    try:
        os.setsid()
        os.umask(0o022)
        Monitor(request, fds, spare).run()
    except BaseException as error:
        status = 1
        _last_words(error)
    os._exit(status)


def _last_words(error: BaseException) -> None:
    """A defect of ours: on the launcher's stderr, which is the service's log."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    sys.stderr.write(f"dosirak monitor: {type(error).__name__}: {error} at {place}\n")
    sys.stderr.flush()
