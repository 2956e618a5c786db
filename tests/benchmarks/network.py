"""What networks cost: making and removing one, a container's start on one, connecting, and names.

    .venv/bin/python tests/benchmarks/network.py [--rounds 30] [--only WORD …]

Rows are timed in turns within one run. "100 names" are questions one after another by a socket inside a container:
the time of asking is in it.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ours
from benchmarks.measure import Case, Prepare, cpu_of, measure, table
from benchmarks.session import session
from support.engines import BUSYBOX, Engine
from support.wires import Namespace

REFERENCE = "start on the default bridge"
_NAMES = itertools.count()
_QUESTION = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01"


def create_and_remove(engine: Engine) -> Prepare:
    """`network create` and `rm`."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        yield lambda: engine.client.networks.create(f"net{next(_NAMES)}").remove()

    return prepare


def start_on(engine: Engine, name: str) -> Prepare:
    """Create, start, wait, remove of `true` on a network that has containers."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        made = engine.client.networks.create(name) if name != "bridge" else None
        with ours.api(engine, name)(folder) as run:
            yield run
        if made:
            made.remove()

    return prepare


def connect(engine: Engine) -> Prepare:
    """`network connect` and `disconnect` of a running container."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        network = engine.client.networks.create("joined")
        box = engine.client.containers.run(BUSYBOX, ["sleep", "600"], detach=True)

        def run() -> None:
            network.connect(box)
            network.disconnect(box)

        yield run
        box.remove(force=True)
        network.remove()

    return prepare


def names(engine: Engine) -> Prepare:
    """A hundred questions for a neighbour's name."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        network = engine.client.networks.create("named")
        box = engine.client.containers.run(BUSYBOX, ["sleep", "600"], detach=True, network="named", name="web")
        box.reload()
        inside = Namespace(os.open(f"/proc/{box.attrs['State']['Pid']}/ns/net", os.O_RDONLY))
        sock = inside.socket(socket.SOCK_DGRAM)
        sock.connect(("127.0.0.11", 53))

        def run() -> None:
            for _ in range(100):
                sock.send(_QUESTION)
                sock.recv(512)

        yield run
        sock.close()
        inside.close()
        box.remove(force=True)
        network.remove()

    return prepare


def rows(engine: Engine) -> list[Case]:
    """Every row, in the order of the table."""
    pid = engine.pid

    def spent() -> float:
        return cpu_of(pid)

    return [
        Case(REFERENCE, start_on(engine, "bridge"), spent),
        Case("start on a network of one's own", start_on(engine, "back"), spent),
        Case("network create + rm", create_and_remove(engine), spent),
        Case("connect + disconnect, running", connect(engine), spent),
        Case("100 names", names(engine), spent),
    ]


def main() -> None:
    """Measure and print."""
    with session(__doc__, rounds=30) as run:
        chosen = [row for row in rows(run.engine) if run.wants(row.name)]
        measure(chosen, run.folder, run.rounds)
        print(f"ms; {run.rounds} rounds in turns, {os.cpu_count()} cores")
        print("\n".join(table(chosen, REFERENCE)))


if __name__ == "__main__":
    main()
