"""How long images take: pulled, pushed, saved, loaded, committed, unpacked, packed; ours beside the others, in turns.

    .venv/bin/python tests/benchmarks/images.py                    all rows, with docker, podman, skopeo, tar, umoci
    .venv/bin/python tests/benchmarks/images.py --rounds 5 --only pull save

Two images: eight layers of 50 MB, each half of it random; and Debian's minimal system in one layer (made by mmdebstrap
once, then kept in the user's cache folder). The registry is Debian's, on this machine. Wall-clock milliseconds, the
client's own start included; "CPU" is the processor time of the service (of the client, where there is no service).
On a machine that does other things too, compare the CPU.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import layers, peers
from benchmarks.measure import Case, NotHere, Prepare, measure, quietly
from benchmarks.session import Session, session
from support import registries
from support.engines import BUSYBOX

EIGHT, DEBIAN = "eight:1", "debian:1"
_HALF = 25 << 20


@dataclass
class Step:
    """What is timed, and what makes it possible once more."""

    run: Callable[[], None]
    before: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        self.run()


@dataclass
class World:
    """What all sides share. `source` has the images; `target` is emptied before each push."""

    folder: Path
    source: registries.Registry
    target: registries.Registry
    debian: Path

    def forget_pushed(self) -> None:
        """Empties the registry that is pushed to."""
        shutil.rmtree(self.target.root / "data", ignore_errors=True)


@dataclass
class Side:
    """One engine with a CLI like Docker's: the command's beginning, and how it is asked for processor time."""

    name: str
    command: Sequence[str | Path]
    environment: dict[str, str]
    cpu: Callable[[], float]
    plain: Sequence[str] = ()
    busybox: str = "busybox"
    _done: set[str] = field(default_factory=set)

    def step(self, *arguments: str | Path) -> Callable[[], None]:
        """One call of the CLI."""
        return quietly(*self.command, *arguments, env=self.environment)

    def forget(self, *names: str) -> None:
        """Removes images, those that are there."""
        subprocess.run([*self.command, "rmi", "-f", *names], env=self.environment, capture_output=True)

    def once(self, what: str, run: Callable[[], None]) -> None:
        """Does it the first time."""
        if what not in self._done:
            run()
            self._done.add(what)


def tasks(world: World) -> dict[str, Callable[[Side], Step]]:
    """Name of the row → given a side, what to time."""

    def pull(image: str) -> Callable[[Side], Step]:
        name = f"{world.source.address}/{image}"
        return lambda side: Step(side.step("pull", "-q", *side.plain, name), lambda: side.forget(name))

    def have(side: Side, image: str) -> str:
        name = f"{world.source.address}/{image}"
        subprocess.run([*side.command, "pull", "-q", *side.plain, name], env=side.environment, capture_output=True)
        return name

    def push_pulled(image: str) -> Callable[[Side], Step]:
        def prepare(side: Side) -> Step:
            target = f"{world.target.address}/{image}"

            def before() -> None:
                side.step("tag", have(side, image), target)()
                world.forget_pushed()

            return Step(side.step("push", "-q", *side.plain, target), before)

        return prepare

    def push_made(side: Side) -> Step:
        target = f"{world.target.address}/made:1"
        side.once("made", side.step("import", world.debian, target))
        return Step(side.step("push", "-q", *side.plain, target), world.forget_pushed)

    def save(side: Side) -> Step:
        archive = world.folder / f"{side.name}.tar"
        name = f"{world.source.address}/{DEBIAN}"
        have(side, DEBIAN)
        return Step(side.step("save", "-o", archive, name), lambda: archive.unlink(missing_ok=True))

    def load(side: Side) -> Step:
        archive = world.folder / f"{side.name}-load.tar"
        name = have(side, DEBIAN)
        side.step("save", "-o", archive, name)()
        return Step(side.step("load", "-q", "-i", archive), lambda: side.forget(name))

    def commit(side: Side) -> Step:
        fill = "dd if=/dev/urandom of=/big bs=1048576 count=200 2>/dev/null"
        run = side.step("run", "--network", "none", "--name", "big", side.busybox, "sh", "-c", fill)
        side.once("big", run)
        return Step(side.step("commit", "big", "committed"), lambda: side.forget("committed"))

    return {
        "pull 8 x 50 MB": pull(EIGHT),
        "pull Debian": pull(DEBIAN),
        "push 8 x 50 MB, pulled before": push_pulled(EIGHT),
        "push Debian, pulled before": push_pulled(DEBIAN),
        "push Debian, made here": push_made,
        "save Debian": save,
        "load Debian": load,
        "commit of 200 MB": commit,
    }


def skopeo(world: World) -> dict[str, Prepare]:
    """The rows that skopeo has: nothing is unpacked."""
    layout = world.folder / "skopeo"

    def pull(image: str) -> Prepare:
        copy = quietly(
            *("skopeo", "copy", "-q", "--src-tls-verify=false"),
            *(f"docker://{world.source.address}/{image}", f"oci:{layout}:{image.partition(':')[0]}"),
        )
        return steps(lambda: Step(copy, lambda: shutil.rmtree(layout, ignore_errors=True)))

    def push(image: str) -> Prepare:
        place = world.folder / f"skopeo-{image[:-2]}"
        source = f"docker://{world.source.address}/{image}"
        fetch = quietly("skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{place}:1")
        target = f"docker://{world.target.address}/{image}"
        copy = quietly("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{place}:1", target)

        def make() -> Step:
            fetch()
            return Step(copy, world.forget_pushed)

        return steps(make)

    return {
        "pull 8 x 50 MB": pull(EIGHT),
        "pull Debian": pull(DEBIAN),
        "push 8 x 50 MB, pulled before": push(EIGHT),
        "push Debian, pulled before": push(DEBIAN),
    }


def steps(make: Callable[[], Step]) -> Prepare:
    """A row as `measure` takes it."""

    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        yield make()

    return prepare


def children_cpu() -> float:
    """Processor time of the programs run so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def world(base: Path) -> Iterator[World]:
    """The two registries, one with the images in it."""
    with registries.running() as source, registries.running() as target:
        made = World(base / "world", source, target, layers.debian())
        made.folder.mkdir()
        source.image(EIGHT, [_half_random(number) for number in range(8)])
        source.image(DEBIAN, [made.debian.read_bytes()])
        yield made


def _half_random(number: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(f"{number}/data")
        data = random.Random(number).randbytes(_HALF) + f"line {number} of the other half\n".encode() * (_HALF // 25)
        entry.size = len(data[: 2 * _HALF])
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def sides(run: Session, dockerd: peers.Dockerd) -> list[Side]:
    """Those that are here."""
    found = [
        Side("dosirak", ["docker"], run.engine.environment(), lambda: peers.spent(run.engine.pid), busybox=BUSYBOX)
    ]
    with contextlib.suppress(NotHere):
        dockerd.start()
        found.append(Side("docker", ["docker"], dict(dockerd.environment), dockerd.cpu))
    if shutil.which("podman"):
        place = run.base / "podman"
        place.mkdir()
        limits = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        (place / "containers.conf").write_text(limits)
        environment = {**os.environ, "CONTAINERS_CONF": str(place / "containers.conf")}
        podman = Side("podman", _podman(place), environment, children_cpu, ["--tls-verify=false"], "localhost/busybox")
        archive = place / "busybox.tar"
        archive.write_bytes(peers.busybox_tar())
        podman.step("import", archive, "busybox")()
        found.append(podman)
    return found


def _podman(place: Path) -> list[str | Path]:
    storage = ["--root", place / "root", "--runroot", place / "run", "--events-backend", "none"]
    return ["podman", *storage, "--cgroup-manager", "cgroupfs", "--runtime", "runc"]


def main() -> None:
    """Measure, and print row by row."""
    with session(__doc__, rounds=5) as run, world(run.base) as shared:
        dockerd = peers.Dockerd(run.base / "dockerd-host", networks=False)
        try:
            engines = sides(run, dockerd)
            print(f"ms: median (min) of {run.rounds} rounds in turns, {os.cpu_count()} cores; CPU; × ours: time, CPU")
            for name, cases in rows(shared, engines).items():
                if run.wants(name):
                    folder = run.folder / f"{name.replace(' ', '-')}"
                    folder.mkdir()
                    measure(cases, folder, run.rounds, warm_up=1)
                    print("\n".join([name, *lines(cases)]), flush=True)
        finally:
            dockerd.stop()
            podman = run.base / "podman"
            if podman.exists():
                subprocess.run([*_podman(podman), "system", "reset", "--force"], capture_output=True)


def rows(shared: World, engines: Sequence[Side]) -> dict[str, list[Case]]:
    """Name → the cases, ours first."""
    made: dict[str, list[Case]] = {}
    for name, task in tasks(shared).items():
        made[name] = [Case(side.name, steps(partial(task, side)), side.cpu) for side in engines]
    for name, prepare in skopeo(shared).items():
        made[name].append(Case("skopeo, no unpacking", prepare, children_cpu))
    return made | layers.rows(shared.debian)


def lines(cases: Sequence[Case]) -> Iterator[str]:
    """A row's table: all are compared to the first."""
    ours = cases[0]
    for case in cases:
        if not case.seconds:
            yield f"    {case.name:22} -  {case.absent}"
            continue
        cpu, own = (median(of.cpu_seconds or [0.0]) * 1000 for of in (case, ours))
        ratios = f"× {case.median / ours.median:5.2f}  {cpu / own:5.2f}" if ours.seconds and own else ""
        yield f"    {case.name:22} {case.median:8.0f} ({case.best:6.0f})   CPU {cpu:6.0f}   {ratios}"


if __name__ == "__main__":
    main()
