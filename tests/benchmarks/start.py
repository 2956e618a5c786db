"""How long a container that runs `true` takes: ours beside the others, in turns within one run.

    make bench                              all rows
    make bench ARGS='--rounds 100'          more rounds
    make bench ARGS='--only runc engine'    rows whose names contain one of the words

A row that can't run here says why. Times are wall-clock milliseconds from the client's side; "service CPU" is the
processor time of our service alone, which other programs on the machine do not lengthen much.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import ours, peers
from benchmarks.measure import Case, cpu_of, measure, table
from benchmarks.session import session
from support.engines import Engine

REFERENCE = "runc run"


def rows(engine: Engine, dockerd: peers.Dockerd) -> list[Case]:
    """Every row, in the order of the table."""
    pid = engine.pid

    def spent() -> float:
        return cpu_of(pid)

    return [
        Case("dosirak engine API, net none", ours.api(engine, "none"), spent),
        Case("dosirak engine API, net bridge", ours.api(engine, "bridge"), spent),
        Case("dosirak docker-py, net bridge", ours.docker_py(engine, "bridge"), spent),
        Case("dosirak %container run --rm, net bridge", ours.magic(engine, "bridge"), spent),
        Case("dosirak docker CLI run --rm, net none", ours.docker_cli(engine, "none"), spent),
        Case("dosirak docker CLI run --rm, net bridge", ours.docker_cli(engine, "bridge"), spent),
        Case("dosirak bare runtime", ours.bare),
        Case("clone, overlay, exec: our floor", ours.floor),
        Case("dosirak-runtime run", peers.runtime(str(Path(sys.executable).with_name("dosirak-runtime")))),
        Case(REFERENCE, peers.runtime("runc")),
        Case("crun run", peers.runtime("crun")),
        Case("bwrap", peers.bubblewrap),
        Case("unshare --root", peers.unshare),
        Case("dockerd API, net none", dockerd.api("none")),
        Case("dockerd API, net bridge", dockerd.api("bridge")),
        Case("dockerd docker CLI run --rm, net none", dockerd.run("none")),
        Case("dockerd docker CLI run --rm, net bridge", dockerd.run("bridge")),
        Case("podman run --rm, net none", peers.podman_run("none")),
    ]


def main() -> None:
    """Measure and print."""
    with session(__doc__, rounds=30) as run:
        chosen = [row for row in rows(run.engine, run.dockerd) if run.wants(row.name)]
        measure(chosen, run.folder, run.rounds)
        print(f"create + start + wait + remove of `true`, ms; {run.rounds} rounds in turns, {os.cpu_count()} cores")
        print("\n".join(table(chosen, REFERENCE)))


if __name__ == "__main__":
    main()
