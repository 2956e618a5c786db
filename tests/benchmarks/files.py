"""How long copies, commits, diffs and exports take: ours beside dockerd, in turns within one run.

    .venv/bin/python tests/benchmarks/files.py                  all tasks
    .venv/bin/python tests/benchmarks/files.py --rounds 20 --only cp

Each task is a container with 200 MB in one file, or with 10,000 changed files. Times are wall-clock milliseconds from
the client's side: over the socket by a client that costs next to nothing, and by the docker CLI.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Case, Prepare, cpu_of, measure, quietly
from benchmarks.session import Session, session
from support.engines import BUSYBOX

SIZE = 200 << 20
FILES = 10_000
_BIG = f"dd if=/dev/urandom of=/big bs=1048576 count={SIZE >> 20} 2>/dev/null"
_MANY = f"mkdir /many; cd /many; i=0; while [ $i -lt {FILES} ]; do : > $i; i=$((i+1)); done"


class Side:
    """One engine: its socket, the environment of its CLI, and two stopped containers that a row may ask for."""

    def __init__(self, name: str, path: Path, environment: Mapping[str, str], image: str) -> None:
        self.name, self.path, self.environment, self.image = name, path, environment, image
        self._made: set[str] = set()

    def docker(self, *arguments: str | Path) -> None:
        """Run the CLI once."""
        quietly("docker", *arguments, env=self.environment)()

    def container(self, name: str, script: str) -> str:
        """A container that has run the script, made once."""
        if name not in self._made:
            self.docker("run", "--network", "none", "--name", name, self.image, "sh", "-c", script)
            self._made.add(name)
        return name

    def ask(self, method: str, path: str, body: Iterator[bytes] | bytes = b"") -> int:
        """One request on a connection of its own; the bytes of the answer. Raises RuntimeError."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            length = f"Content-Length: {len(body)}" if isinstance(body, bytes) else "Transfer-Encoding: chunked"
            head = f"{method} /v1.41{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{length}\r\n\r\n"
            sock.sendall(head.encode())
            if isinstance(body, bytes):
                sock.sendall(body)
            else:
                for piece in body:
                    sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                sock.sendall(b"0\r\n\r\n")
            buffer, total, first = bytearray(1 << 20), 0, b""
            while count := sock.recv_into(buffer):
                first = first or bytes(buffer[:600])
                total += count
        if not first.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(f"{method} {path}: {first.decode(errors='replace')}")
        return total


def tasks(local: Path) -> dict[str, Callable[[Side], Callable[[], object]]]:
    """Name of the task → given a side, what to time."""
    big, archive = local / "big", local / "big.tar"

    def upload(side: Side) -> Callable[[], object]:
        name, data = side.container("into", "true"), archive.read_bytes()
        return lambda: side.ask("PUT", f"/containers/{name}/archive?path=/tmp", data)

    def upload_chunked(side: Side) -> Callable[[], object]:
        name, data = side.container("into", "true"), archive.read_bytes()
        piece = 32 << 10  # what Go's client sends at once

        def run() -> None:
            pieces = (data[at : at + piece] for at in range(0, len(data), piece))
            side.ask("PUT", f"/containers/{name}/archive?path=/tmp", pieces)

        return run

    def get(path: str, container: tuple[str, str]) -> Callable[[Side], Callable[[], object]]:
        def prepare(side: Side) -> Callable[[], object]:
            name = side.container(*container)
            return lambda: side.ask("GET", f"/containers/{name}/{path}")

        return prepare

    def cli(*arguments: str | Path) -> Callable[[Side], Callable[[], object]]:
        def prepare(side: Side) -> Callable[[], object]:
            side.container("big", _BIG)
            side.container("into", "true")
            return lambda: side.docker(*arguments)

        return prepare

    def commit(side: Side) -> Callable[[], object]:
        name = side.container("big", _BIG)
        return lambda: side.ask("POST", f"/commit?container={name}&repo=committed")

    return {
        "cp 200 MB out, API": get("archive?path=/big", ("big", _BIG)),
        "cp 200 MB in, API": upload,
        "cp 200 MB in, API, chunks of 32 kB": upload_chunked,
        "cp 200 MB out, CLI": cli("cp", "big:/big", local / "out"),
        "cp 200 MB in, CLI": cli("cp", big, "into:/tmp/in"),
        "cp 10,000 files out, API": get("archive?path=/many", ("many", _MANY)),
        "stat of a path, API": lambda side: (
            lambda: side.ask("HEAD", f"/containers/{side.container('big', _BIG)}/archive?path=/big")
        ),
        "commit of 200 MB, API": commit,
        "diff of 10,000 files, API": get("changes", ("many", _MANY)),
        "export of 200 MB, API": get("export", ("big", _BIG)),
    }


def row(task: Callable[[Side], Callable[[], object]], side: Callable[[], Side]) -> Prepare:
    """A task on a side as `measure` takes it."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        run = task(side())
        yield lambda: run() and None

    return prepare


def main() -> None:
    """Measure and print."""
    with session(__doc__, rounds=7) as run:
        ours = Side("dosirak", run.engine.socket, run.engine.environment(), BUSYBOX)
        pairs = _pairs(run, ours)
        measure([case for pair in pairs.values() for case in pair], run.folder, run.rounds, warm_up=1)
        print(f"ms: median (min) of {run.rounds} rounds in turns, {os.cpu_count()} cores; CPU: of our service alone")
        for name, (case, peer) in pairs.items():
            cpu = f"CPU {sorted(case.cpu_seconds)[len(case.cpu_seconds) // 2] * 1000:5.0f}" if case.cpu_seconds else ""
            print(f"{name:36} dosirak {_shown(case)} {cpu}   dockerd {_shown(peer)}")


def _pairs(run: Session, ours: Side) -> dict[str, tuple[Case, Case]]:
    local, dockerd = run.base / "local", run.dockerd
    local.mkdir()
    with (local / "big").open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(os.urandom(1 << 20))
    quietly("tar", "-C", local, "-cf", local / "big.tar", "big")()
    theirs: list[Side] = []

    def peer() -> Side:
        if not theirs:
            dockerd.start()
            theirs.append(Side("dockerd", dockerd.socket, dockerd.environment, "busybox"))
        return theirs[0]

    chosen = {name: task for name, task in tasks(local).items() if run.wants(name)}
    pid = run.engine.pid
    return {
        name: (
            Case(f"{name}, dosirak", row(task, lambda: ours), lambda: cpu_of(pid)),
            Case(f"{name}, dockerd", row(task, peer)),
        )
        for name, task in chosen.items()
    }


def _shown(case: Case) -> str:
    return f"{case.median:7.1f} ({case.best:7.1f})" if case.seconds else f"-  {case.absent}"


if __name__ == "__main__":
    main()
