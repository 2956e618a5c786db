"""SIGKILL at random moments of a build: of the service, of the launcher, of both.

What was finished stays in the cache, nothing half-made is ever taken for finished, and nothing else stays: no process,
no directory, no control group. `DOSIRAK_TESTS_LONG=1` takes 100 moments, `DOSIRAK_TESTS_SEED` runs the same choices.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from support import seeds
from support.engines import Engine, wait_for
from support.patience import patient

from .conftest import children, returns_to, settled

MOMENTS = 100 if seeds.LONG else 6
LINES = 400
_FINISHED = re.compile(r"^ ---> [0-9a-f]{12}$", re.MULTILINE)
_MARK = "dosirak_killed_build"


def dockerfile(base: str, number: int) -> str:
    """Two stages at work at the same time, then what looks at everything they made."""
    fill = f"{_MARK}=1; i=0; while [ $i -lt {LINES} ]; do echo $i {{}}; i=$((i+1)); done > /{{}}"
    steps = {stage: [f"{stage}{step}" for step in range(3)] for stage in "ab"}
    lines = []
    for stage, names in steps.items():
        lines += [f"FROM {base} AS {stage}", f"RUN --mount=type=cache,target=/cache touch /cache/{stage}{number}"]
        lines += [f"RUN : {number}; {fill.format(name, name)}" for name in names]
    lines += ["FROM a", "COPY --from=b /b0 /b1 /b2 /", "COPY file /file"]
    names = [name for made in steps.values() for name in made]
    lines += [
        f"RUN for f in {' '.join(names)}; do [ $(grep -c $f /$f) = {LINES} ] || exit 9; done; grep -q {number} /file"
    ]
    return "\n".join(lines) + "\n"


def launchers(engine: Engine) -> list[int]:
    """The service's launcher, if it is there at this moment."""
    found = []
    for pid in children(engine.pid):
        with contextlib.suppress(OSError):
            if b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def steps_left() -> list[int]:
    """Processes of this test's steps."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and f"{_MARK}=1".encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                found.append(int(entry))
    return found


def strike(engine: Engine, chance: random.Random) -> str:
    """Kills something, and brings the service back when it is gone."""
    what = chance.choices(("service", "launcher", "both"), (5, 3, 2))[0]
    if what != "service":
        for pid in launchers(engine):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if what != "launcher":
        engine.kill(signal.SIGKILL)
        time.sleep(chance.choice((0, 0, 0.3)))
        engine.start()
    return what


@pytest.mark.slow
@pytest.mark.timeout(3600 if seeds.LONG else 180)
def test_a_build_killed_at_any_moment_leaves_what_was_finished_and_nothing_else(
    fresh_engine: Engine, tmp_path: Path
) -> None:
    engine, number = fresh_engine, seeds.seed()
    chance, base = random.Random(number), engine.import_busybox()
    engine.docker("build", "-", stdin=f"FROM {base}\nRUN --mount=type=cache,target=/c true\n")
    before = settled(engine)
    tally: Counter[str] = Counter()
    span = whole_build(engine, base, tmp_path)
    for moment in range(1, MOMENTS + 1):
        (tmp_path / "file").write_text(f"{moment}\n")
        (tmp_path / "Dockerfile").write_text(dockerfile(base, moment))
        with (tmp_path / "said").open("w+") as said:
            build = engine.docker_popen("build", "-t", "killed", tmp_path, stdout=said, stderr=subprocess.STDOUT)
            build.stdin.close()
            time.sleep(chance.uniform(0, span))
            tally[strike(engine, chance)] += 1
            build.wait(patient(60))
            said.seek(0)
            finished = len(_FINISHED.findall(said.read()))
        wait_for(lambda: not steps_left(), 20, "the killed build's steps to end")
        again = engine.docker("build", "-t", "killed", tmp_path)
        tally["finished before"] += finished
        tally["cached after"] += again.stdout.count("Using cache")
        engine.docker("rmi", "killed")
    print(f"struck {dict(tally)} in builds of {span:.1f} s")
    assert not tally["finished before"] or tally["cached after"]
    assert engine.docker("ps", "-aq").stdout == ""
    engine.docker("builder", "prune", "-af")
    engine.kill(signal.SIGTERM)  # a service keeps, while it lives, where its builds' layers were at first
    engine.start()
    returns_to(engine, without_caches(before), "the data root to be as before")


def whole_build(engine: Engine, base: str, folder: Path) -> float:
    """Seconds that a build takes when nobody disturbs it."""
    (folder / "file").write_text("0\n")
    (folder / "Dockerfile").write_text(dockerfile(base, 0))
    began = time.monotonic()
    engine.docker("build", "-t", "killed", folder)
    span = time.monotonic() - began
    engine.docker("rmi", "killed")
    return span


def without_caches(tree: set[str]) -> set[str]:
    """A prune takes the cache of the first build as well."""
    return {path for path in tree if not path.startswith("build-mounts/")}
