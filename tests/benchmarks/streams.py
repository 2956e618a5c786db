"""How long an exec takes, and a million log lines written and read: ours beside dockerd, in turns within one run.

    .venv/bin/python tests/benchmarks/streams.py                      all tasks
    .venv/bin/python tests/benchmarks/streams.py --rounds 30 --only exec

Wall-clock milliseconds from the side of a client that costs next to nothing; "CPU" is the processor time of our
service alone. Written: a container's `seq 1000000`, from its start to its end.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Case, Prepare, cpu_of, measure, quietly
from benchmarks.rawclient import Client
from benchmarks.session import session
from support.engines import BUSYBOX

LINES = 1_000_000
# What `seq` of so many lines prints, each line in a frame with an 8-byte head or not.
_LEAST = sum(len(str(number)) + 1 for number in range(1, LINES + 1))
_KINDS = ("json-file", "local")


class Side:
    """One engine: its socket, its image, and the environment of its CLI."""

    def __init__(self, path: Path, image: str, environment: Mapping[str, str]) -> None:
        self.path, self.image, self.environment = path, image, environment
        self.client = Client(str(path))
        self._made: dict[str, str] = {}

    def container(self, name: str, command: list[str], **host: object) -> str:
        """A container that has been started, made once; its id."""
        if name not in self._made:
            self._made[name] = self.create(command, **host)
            self.client.ask("POST", f"/containers/{self._made[name]}/start")
        return self._made[name]

    def create(self, command: list[str], **host: object) -> str:
        """A new container without a network; its id."""
        body = {"Image": self.image, "Cmd": command, "HostConfig": {"NetworkMode": "none", **host}}
        return str(json.loads(self.client.ask("POST", "/containers/create", body))["Id"])

    def stream(self, request: str, body: bytes = b"", *, upgrade: bool = False) -> int:
        """One request on a connection of its own, read to its end; how many bytes that was."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            kind = "Connection: Upgrade\r\nUpgrade: tcp" if upgrade else "Connection: close"
            head = f"{request} HTTP/1.1\r\nHost: d\r\n{kind}\r\nContent-Type: application/json\r\n"
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            buffer, total = bytearray(1 << 20), 0
            while count := sock.recv_into(buffer):
                total += count
        return total


def execute(side: Side) -> Callable[[], None]:
    """Create, start (its streams until their end), inspect."""
    name = side.container("idle", ["sleep", "100000"])

    def run() -> None:
        asked = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        ident = json.loads(side.client.ask("POST", f"/containers/{name}/exec", asked))["Id"]
        side.stream(f"POST /v1.41/exec/{ident}/start", b'{"Detach":false,"Tty":false}', upgrade=True)
        found = json.loads(side.client.ask("GET", f"/exec/{ident}/json"))
        if found["ExitCode"] != 0:
            raise RuntimeError(f"exec: {found}")

    return run


def execute_cli(side: Side) -> Callable[[], None]:
    """`docker exec CONTAINER true`."""
    name = side.container("idle", ["sleep", "100000"])
    return quietly("docker", "exec", name, "true", env=side.environment)


def write(kind: str) -> Callable[[Side], Callable[[], None]]:
    """A million lines by a container, to its end; `run` leaves the container behind."""

    def prepare(side: Side) -> Callable[[], None]:
        def run() -> None:
            name = side.create(["seq", str(LINES)], LogConfig={"Type": kind, "Config": {}})
            side.client.ask("POST", f"/containers/{name}/start")
            side.client.ask("POST", f"/containers/{name}/wait")
            side.client.ask("DELETE", f"/containers/{name}")

        return run

    return prepare


def read(kind: str) -> Callable[[Side], Callable[[], None]]:
    """A million lines by `GET /containers/{id}/logs`."""

    def prepare(side: Side) -> Callable[[], None]:
        name = side.container(f"said-{kind}", ["seq", str(LINES)], LogConfig={"Type": kind, "Config": {}})
        side.client.ask("POST", f"/containers/{name}/wait")

        def run() -> None:
            got = side.stream(f"GET /v1.41/containers/{name}/logs?stdout=1&stderr=1")
            if got < _LEAST:
                raise RuntimeError(f"logs: {got} bytes")

        return run

    return prepare


TASKS: dict[str, Callable[[Side], Callable[[], None]]] = {
    "exec true, API": execute,
    "exec true, CLI": execute_cli,
    **{f"{LINES:,} lines written, {kind}": write(kind) for kind in _KINDS},
    **{f"{LINES:,} lines read, {kind}": read(kind) for kind in _KINDS},
}


def row(task: Callable[[Side], Callable[[], None]], side: Callable[[], Side]) -> Prepare:
    """A task on a side as `measure` takes it."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        yield task(side())

    return prepare


def main() -> None:
    """Measure and print."""
    sides: dict[str, Side] = {}
    with session(__doc__, rounds=7) as run:
        engine, dockerd = run.engine, run.dockerd

        def ours() -> Side:
            return sides.setdefault("ours", Side(engine.socket, BUSYBOX, engine.environment()))

        def theirs() -> Side:
            dockerd.start()
            return sides.setdefault("theirs", Side(dockerd.socket, "busybox", dockerd.environment))

        pid = engine.pid
        pairs = {
            name: (Case(name, row(task, ours), lambda: cpu_of(pid)), Case(f"{name} dockerd", row(task, theirs)))
            for name, task in TASKS.items()
            if run.wants(name)
        }
        try:
            measure([case for pair in pairs.values() for case in pair], run.folder, run.rounds, warm_up=1)
        finally:
            for side in sides.values():
                side.client.close()
        print(f"ms: median (min) of {run.rounds} rounds in turns, {os.cpu_count()} cores")
        for name, (case, peer) in pairs.items():
            cpu = sorted(case.cpu_seconds)[len(case.cpu_seconds) // 2] * 1000
            print(f"{name:34} dosirak {_shown(case)} CPU {cpu:6.1f}   dockerd {_shown(peer)}")


def _shown(case: Case) -> str:
    return f"{case.median:7.1f} ({case.best:7.1f})" if case.seconds else f"not here: {case.absent}"


if __name__ == "__main__":
    main()
