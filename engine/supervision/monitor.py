"""One a container (or exec): starts the process, holds its streams, writes its log, reaps it, notes how it ended, and
applies the restart policy. Nothing here depends on the engine service: it may be killed and come back.

A monitor is a fork of the launcher; `starter` does its starts, `services` is how it talks to the service. It runs as
little code as it can: each page of its memory that it touches is one of its own from then on.
"""

from __future__ import annotations

import _socket
import json
import os
import signal
import socket
import time

from dosirak.engine.runtime import cgroups, child, devices
from dosirak.engine.runtime.container import Process
from dosirak.engine.supervision import clients, logs, settling, starter, streams, wire
from dosirak.engine.supervision import loop as loops
from dosirak.engine.supervision.logs.compressor import Compressor
from dosirak.engine.supervision.services import Services, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from dosirak.engine.supervision.logs.rotating import Log
    from dosirak.engine.supervision.starter import Request

EXIT_FILE = "exit.json"
NEXT_EXIT_FILE = "exit.json.new"

# Docker's back-off between restarts: doubles from 100 ms to a minute, starts again after 10 s of running.
_FIRST_DELAY, _LONGEST_DELAY, _GOOD_RUN = 0.1, 60.0, 10.0
# Seconds after a start for what it has touched to be given back: most containers of a moment have ended by then.
_SETTLED = 0.5


class Monitor:
    """The supervisor of one process."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_exec = request.is_exec
        self._policy = request.document["restart"]
        self._restarts = self._policy["restarts"]
        self._delay = _FIRST_DELAY
        self._process: Process | None = None
        self._mounts = -1
        self._started_at = self._tried_at = 0.0
        self._cgroup, self._shared_pids = "", False
        self._oom_kills = 0
        self._finished = False
        self._compressor: Compressor | None = None
        self._bundle = -1
        self._loop = loops.Loop()
        self._services = Services(self._loop, self._heard, self._present, self._log_file)
        self._asker = _socket.socket(fileno=request.status)
        self._services.add(self._asker)

    def run(self, channel: wire.Socket, starter_pid: int) -> None:
        """Stay with the process that the starter starts until it has ended for good."""
        try:
            problem = self._prepare()
            if not self._is_exec:
                self._let_it_run(channel, problem)
            if self._await_start(channel, starter_pid, problem):
                self._loop.run()
        except OSError as error:
            self._fail(child.describe(error), child.exit_code(error))
        except Exception as error:
            report(error)
            self._fail(f"{type(error).__name__}: {error}")
        if self._compressor:
            self._compressor.finish()
        self._services.finish()
        self._linger()

    def _linger(self) -> None:
        """Stay until the clients have all that the process wrote: one that is slow may take its time."""
        if self._started_at and self._pump.leaving:
            self._services.close()
            for fd in (self._bundle, *self._request.join.values()):
                if fd >= 0:
                    os.close(fd)
            while self._pump.leaving:
                self._loop.turn()

    def _prepare(self) -> OSError | None:
        """While the starter is at work: open what the request names. Returns why that is not possible."""
        document = self._request.document
        log = document.get("log")
        problem = self._log = None
        try:
            self._bundle = os.open(document["bundle"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not self._is_exec:
                # Before the launch is over: a service that comes up in its middle must find it.
                self._services.listen(self._bundle)
            self._log = self._open_log(log) if log else None
        except OSError as error:
            problem = error
        # Beside the log, if there is one, clients that lag may leave what they have not taken yet.
        self._folder = os.path.dirname(log["path"]) if log else ""
        self._pump = streams.Pump(self._loop, self._log, self._services.log_grew)
        self._pump.stdin_once = document["stdin_once"]
        self._pump.on_detach = self._tell_detached
        fds = list(self._request.clients)
        for entry in document["attach"]:
            self._attach(entry, fds, entry["initial"])
        return problem

    def _let_it_run(self, channel: wire.Socket, problem: OSError | None) -> None:
        """Give the starter the word without which it runs no program: that all is prepared, here and, if it wants to be
        waited for, by the service that asks."""
        word = b"" if problem is not None else starter.GO
        if word and self._request.document["gated"]:
            self._asker.setblocking(True)
            try:
                word, _ = wire.receive(self._asker)
            except OSError:
                word = b""
            self._asker.setblocking(False)
        try:
            wire.send(channel, word if word == starter.GO else starter.NO)
        except OSError:
            pass  # it has failed already, and said why

    # Life of the process

    def _await_start(self, channel: wire.Socket, starter_pid: int, problem: OSError | None = None) -> bool:
        """Hear from the starter how it went. Returns whether there is a process to stay with; with a `problem` there
        must not be."""
        self._tried_at = time.monotonic()
        try:
            data, fds = wire.receive(channel, len(starter.STREAMS))
        except ConnectionResetError:  # it has left with our word unread, and this is told first
            data, fds = wire.receive(channel, len(starter.STREAMS))
        channel.close()
        told = wire.unpack(data) if data else self._starter_killed()
        self._cgroup, self._shared_pids = told["cgroup"], told["shared_pids"]
        if problem is not None:
            told |= {"error": child.describe(problem), "exit_code": child.exit_code(problem)}
        if "error" in told:
            _reap(starter_pid, told["pid"])
            self._end(told["exit_code"], error=told["error"])
            return False
        process = Process(told["pid"])
        for name, there in zip(starter.STREAMS, told["streams"], strict=True):
            if there:
                setattr(process, name, fds.pop(0))
        self._process, self._mounts, self._started_at = process, process.mounts, told["at"]
        self._loop.after(_SETTLED, settling.settle)
        self._pump.start(process)
        self._loop.watch(process.pidfd, loops.IN, lambda _events: self._exited())
        if self._request.again:  # else the starter has done it
            self._services.tell(*self._present())
        _reap(starter_pid)
        return True

    def _starter_killed(self) -> dict[str, Any]:
        """It, or the child in its memory, was killed before the program ran. The child ends with this process."""
        error = "the process was killed while it was being set up"
        cgroup = "" if self._is_exec else self._request.document["cgroup"]
        if cgroup:
            cgroups.kill(cgroup)
            if cgroups.limit_hits(cgroup):
                error = "container init was OOM-killed (memory limit too low?)"
        return {"error": error, "exit_code": 128, "cgroup": cgroup, "shared_pids": False, "pid": 0}

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
        kills = cgroups.oom_kills(self._cgroup) if self._cgroup else 0
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
            self._services.tell({"event": "exited", **ended})
            if not self._is_exec:
                self._note_exit(ended)
            self._unmount()
            self._pump.close()
        if self._cgroup:
            cgroups.remove(self._cgroup)
        if not self._started_at:
            # Last: it may be tried again at once, with the same cgroup. Whoever asked also tells the clients why; this
            # process's end lets go of them.
            self._services.tell({"event": "failed", **ended})

    def _unmount(self) -> None:
        """Let go of the ended process's mount namespace."""
        if self._mounts >= 0:
            os.close(self._mounts)
            self._mounts = -1

    def _fail(self, error: str, code: int = 128) -> None:
        """We can't go on: then the process, which nobody else would reap, can't either."""
        if self._finished:
            return
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            os.waitpid(self._process.pid, 0)
        self._policy = {"policy": "no", "max_retries": 0}
        self._end(137 if self._process else code, error)

    def _note_exit(self, ended: dict[str, Any]) -> None:
        """Beside and renamed: a reader sees all or nothing. The file is there, so that a full disk has room for it. Not
        fsynced: after a power failure no container of this boot runs anyway, and the service then records that."""
        try:
            fd = os.open(NEXT_EXIT_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._bundle)
            with open(fd, "wb", buffering=0) as file:
                file.truncate(file.write(_json(ended).encode()))
            os.rename(NEXT_EXIT_FILE, EXIT_FILE, src_dir_fd=self._bundle, dst_dir_fd=self._bundle)
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
        self._unmount()
        self._pump.close()
        if self._cgroup and self._shared_pids:
            cgroups.kill(self._cgroup)  # elsewhere the kernel does it when the first process ends
        self._last_end = ended
        self._loop.after(self._delay, self._restart)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _restart(self) -> None:
        if self._policy["policy"] == "no":
            self._finish(self._last_end)
            return
        self._restarts += 1
        self._request.again = True
        ours, theirs = wire.pair()
        self._await_start(ours, starter.fork(ours, theirs, lambda: starter.start(self._request, theirs)))

    # Services

    def _present(self) -> tuple[dict[str, Any], int]:
        """What a service is told of the process, with its pidfd; between two runs, with their network namespace."""
        process = self._process
        if process is None:
            return {"event": "restarting", **self._last_end}, self._request.join.get("network", -1)
        state = {"event": "started", "pid": process.pid, "at": self._started_at, "restarts": self._restarts}
        return state, process.pidfd

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        op = message["op"]
        if op == "attach" and fds:
            initial = b""
            if len(fds) > 1 + message["gate"]:
                with open(fds.pop(), "rb") as file:
                    file.seek(0)
                    initial = file.read()
            self._attach(message, fds, initial)
        elif op == "resize":
            self._resize(message["rows"], message["columns"])
        elif op == "policy":
            self._policy = message["restart"]
        elif op == "no_restart":
            self._policy = {"policy": "no", "max_retries": 0}
            if self._process is None and not self._finished:
                self._loop.after(0.0, self._restart)

    # Streams

    def _open_log(self, entry: dict[str, Any]) -> Log:
        log = logs.open_log(entry)
        self._compressor = Compressor(self._loop, log) if entry["compress"] else None

        def rotated(fd: int) -> None:
            self._services.log_rotated(fd)
            if self._compressor:
                self._compressor.rotated()

        log.on_rotate = rotated
        return log

    def _log_file(self) -> int:
        return self._log.fd if self._log else -1

    def _attach(self, entry: dict[str, Any], fds: list[int], initial: bytes) -> None:
        """Add a client; its descriptors are taken from the beginning of `fds`."""
        wants = {number for number, name in ((1, "stdout"), (2, "stderr")) if entry[name]}
        client = clients.Client(
            socket.socket(fileno=fds.pop(0)),
            stdin=entry["stdin"],
            wants=wants,
            framed=entry["framed"],
            detach_keys=entry["detach_keys"],
            folder=self._folder,
        )
        if entry["gate"]:
            self._pump.hold(client, _socket.socket(fileno=fds.pop(0)))
        self._pump.attach(client, initial)

    def _tell_detached(self) -> None:
        self._services.tell({"event": "detached"})

    def _resize(self, rows: int, columns: int) -> None:
        self._request.document["size"] = (rows, columns)
        if self._pump.terminal >= 0:
            try:
                devices.set_size(self._pump.terminal, rows, columns)
            except OSError:
                pass


def _json(ended: dict[str, Any]) -> str:
    """By hand: the encoder touches a quarter of a megabyte."""
    error = json.dumps(ended["error"]) if ended["error"] else '""'
    numbers = f'"code": {ended["code"]}, "at": {ended["at"]!r}, "restarts": {ended["restarts"]}'
    return f'{{{numbers}, "oom": {"true" if ended["oom"] else "false"}, "error": {error}}}'


def _reap(*pids: int) -> None:
    """Wait for children that have ended or are about to; 0: there is none."""
    for pid in pids:
        if pid:
            os.waitpid(pid, 0)


def main(requests: wire.Socket, on_taken: Callable[[], None], *, for_execs: bool) -> NoReturn:
    """The whole life of a monitor process: it waits, with its starter, until there is something to do.

    Parameters: `requests`: of the service, `for_execs` or new containers; `on_taken`: called once there is.
    """
    status = 0
    try:
        os.setsid()
        os.umask(0o022)
        ours, theirs = wire.pair()
        pid = starter.fork(ours, theirs, lambda: starter.wait(requests, theirs, for_execs=for_execs))
        requests.close()
        data, fds = wire.receive(ours)
        if data:
            on_taken()
            Monitor(starter.read(data, fds)).run(ours, pid)
        else:
            _reap(pid)
            cgroups.forget_ready(os.getpid())
    except BaseException as error:
        status = 1
        report(error)
    os._exit(status)
