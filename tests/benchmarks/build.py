"""How long builds take: ours by three doors, Docker's classic builder, buildah; in turns.

    .venv/bin/python tests/benchmarks/build.py                       all rows
    .venv/bin/python tests/benchmarks/build.py --rounds 3 --only RUN COPY

Rows: ten RUN steps; 10,000 small files copied; packages installed (where a mirror is reached); four stages that each
sleep two seconds; a context with one file of 500 MB. "dosirak" is Docker's own client with our engine, "dosirak build"
our own command line, "%%dockerfile" a cell in an IPython shell. Wall-clock milliseconds, a client's own start included;
"CPU" is the processor time of the service (of the client, where there is no service). buildah runs its steps in a
chroot, without a container's walls.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import layers, peers
from benchmarks.images import Side, Step, children_cpu, lines, steps
from benchmarks.measure import Case, NotHere, measure
from benchmarks.session import Session, session
from support.engines import BUSYBOX
from support.rootfs import busybox_tar

DEBIAN = "debian:bench"
_FILES = 10_000
_BIG = 500 << 20
_NUMBERS = itertools.count()


@dataclass
class Contexts:
    """Folders to build, made when a row first asks for one."""

    base: Path

    def small(self, text: str) -> Path:
        """A folder with nothing but a Dockerfile."""
        return self._made(f"small{next(_NUMBERS)}", text, lambda folder: None)

    def many(self, side: Side, text: str) -> Path:
        """10,000 files of 200 bytes in 100 folders; a side has its own, since one of them changes."""

        def fill(folder: Path) -> None:
            for number in range(_FILES):
                path = folder / f"{number % 100}/{number}"
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"{number} " * 40)

        return self._made(f"many-{side.name.replace(' ', '-')}", text, fill)

    def big(self, text: str) -> Path:
        """One file that compresses badly."""

        def fill(folder: Path) -> None:
            with (folder / "big").open("wb") as file:
                for _ in range(_BIG >> 20):
                    file.write(os.urandom(1 << 20))

        return self._made("big", text, fill)

    def _made(self, name: str, text: str, fill: Callable[[Path], None]) -> Path:
        folder = self.base / name
        if not folder.exists():
            folder.mkdir(parents=True)
            fill(folder)
        (folder / "Dockerfile").write_text(text)
        return folder


def tasks(contexts: Contexts) -> dict[str, Callable[[Side], Step]]:
    """Name of the row → given a side, what to time."""

    def ten(side: Side) -> str:
        return f"FROM {side.busybox}\n" + "".join(f"RUN echo {number} > /{number}\n" for number in range(10))

    def build(side: Side, folder: Path, *flags: str) -> Callable[[], None]:
        return side.step("build", "-q", *side.plain, *flags, folder)

    def cold(side: Side) -> Step:
        return Step(build(side, contexts.small(ten(side)), "--no-cache"))

    def cached(side: Side) -> Step:
        return Step(build(side, contexts.small(ten(side))))

    def copied(side: Side) -> Path:
        return contexts.many(side, f"FROM {side.busybox}\nCOPY . /files\n")

    def copy_cold(side: Side) -> Step:
        return Step(build(side, copied(side), "--no-cache"))

    def copy_changed(side: Side) -> Step:
        folder = copied(side)
        return Step(build(side, folder), lambda: _write(folder / "50/50", f"changed {next(_NUMBERS)}"))

    def copy_unchanged(side: Side) -> Step:
        return Step(build(side, copied(side)))

    def parallel(side: Side) -> Step:
        names = "abcd"
        text = "".join(f"FROM {side.busybox} AS {name}\nRUN sleep 2; echo {name} > /{name}\n" for name in names)
        text += f"FROM {side.busybox}\n" + "".join(f"COPY --from={name} /{name} /{name}\n" for name in names)
        return Step(build(side, contexts.small(text), "--no-cache"))

    def big(side: Side) -> Step:
        return Step(build(side, contexts.big(f"FROM {side.busybox}\nCOPY big /big\n"), "--no-cache"))

    def packages(side: Side) -> Step:
        side.once("debian", side.step("import", layers.debian(), DEBIAN))
        text = f"FROM {DEBIAN}\nRUN apt-get update && apt-get install -y --no-install-recommends hello sl\n"
        return Step(build(side, contexts.small(text), "--no-cache", "--network", "host"))

    return {
        "ten RUN steps, cold": cold,
        "ten RUN steps, cached": cached,
        "COPY of 10,000 files, cold": copy_cold,
        "COPY of 10,000 files, one changed": copy_changed,
        "COPY of 10,000 files, unchanged": copy_unchanged,
        "four stages of sleep 2": parallel,
        "context of 500 MB": big,
        "apt-get install": packages,
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text)


class Cell(Side):
    """`%%dockerfile` in an IPython shell of this process: the same flags, the Dockerfile as the cell's body."""

    def step(self, *arguments: str | Path) -> Callable[[], None]:
        """A build; what else rows ask for goes by the command line."""
        if arguments[0] != "build":
            return super().step(*arguments)
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        if "dosirak" not in shell.extension_manager.loaded:
            shell.run_line_magic("load_ext", "dosirak")
        folder = Path(arguments[-1])
        line = " ".join(map(str, arguments[1:]))

        def run() -> None:
            os.environ["DOCKER_HOST"] = self.environment["DOCKER_HOST"]
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    shell.run_cell_magic("dockerfile", line, (folder / "Dockerfile").read_text())
            finally:
                del os.environ["DOCKER_HOST"]

        return run


def sides(run: Session, dockerd: peers.Dockerd) -> list[Side]:
    """Those that are here, ours first."""
    ours, environment = run.engine, run.engine.environment()
    command = [sys.executable, "-m", "dosirak.magics.cli"]

    def spent() -> float:
        return peers.spent(ours.pid)

    found = [
        Side("dosirak", ["docker"], environment, spent, busybox=BUSYBOX),
        Side("dosirak build", command, environment, spent, busybox=BUSYBOX),
        Cell("%%dockerfile", command, environment, spent, busybox=BUSYBOX),
    ]
    with contextlib.suppress(NotHere):
        dockerd.start()
        found.append(Side("docker, classic", ["docker"], {**dockerd.environment, "DOCKER_BUILDKIT": "0"}, dockerd.cpu))
    if shutil.which("buildah"):
        found.append(_buildah(run.base / "buildah"))
    return found


def _buildah(place: Path) -> Side:
    place.mkdir()
    policy = place / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    root = place / "busybox"
    root.mkdir()
    (root / "root.tar").write_bytes(busybox_tar())
    (root / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
    flags = ["--layers", "--pull-never", "--signature-policy", str(policy)]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    side = Side("buildah, chroot", _store(place), environment, children_cpu, flags, "localhost/busybox")
    side.step("build", "-q", *flags, "-t", "busybox", root)()
    return side


def _store(place: Path) -> list[str | Path]:
    return ["buildah", "--root", place / "root", "--runroot", place / "run"]


@contextmanager
def _others(run: Session) -> Iterator[peers.Dockerd]:
    dockerd = peers.Dockerd(run.base / "dockerd-host", networks=False)
    try:
        yield dockerd
    finally:
        dockerd.stop()
        if (place := run.base / "buildah").exists():
            subprocess.run([*_store(place), "rmi", "--all", "--force"], capture_output=True)
            subprocess.run(["umount", place / "root" / "overlay"], capture_output=True)


def main() -> None:
    """Measure, and print row by row."""
    with session(__doc__, rounds=5) as run, _others(run) as dockerd:
        found = sides(run, dockerd)
        print(f"ms: median (min) of {run.rounds} rounds in turns, {os.cpu_count()} cores; CPU; × ours: time, CPU")
        for name, task in tasks(Contexts(run.base / "contexts")).items():
            if run.wants(name):
                cases = [Case(side.name, steps(partial(task, side)), side.cpu) for side in found]
                folder = run.folder / "".join(filter(str.isalnum, name))
                folder.mkdir()
                measure(cases, folder, run.rounds, warm_up=1)
                print("\n".join([name, *lines(cases)]), flush=True)


if __name__ == "__main__":
    main()
