"""Layers alone, without an image around them: a tar into a directory and back, ours beside tar, bsdtar and umoci."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Case, NotHere, Prepare, quietly
from dosirak.engine.content import Store
from dosirak.engine.content.placement import spread_below
from dosirak.engine.layers import Layers


def debian() -> Path:
    """Debian's minimal system as a tar, made once. Raises NotHere."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dosirak-tests"
    made = cache / "debian.tar"
    if not made.exists():
        if shutil.which("mmdebstrap") is None:
            raise NotHere("mmdebstrap is not installed")
        cache.mkdir(parents=True, exist_ok=True)
        half = cache / "debian.half.tar"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", half], check=True)
        half.rename(made)
    return made


def rows(archive: Path) -> dict[str, list[Case]]:
    """Application and creation of Debian's layer."""
    return {
        "apply Debian's layer": [
            Case("dosirak", _ours_apply(archive), _cpu),
            Case("tar", _apply(archive, "tar", "--numeric-owner", "-xf", archive, "-C"), _cpu),
            Case("bsdtar", _apply(archive, "bsdtar", "-xf", archive, "-C"), _cpu),
        ],
        "make Debian's layer": [
            Case("dosirak", _ours_make(archive), _cpu),
            Case("tar and sha256sum", _make(archive, "tar --numeric-owner -c -C ROOT . | tee OUT | sha256sum"), _cpu),
            Case("umoci raw add-layer", _umoci(archive), _cpu),
        ],
    }


def _cpu() -> float:
    """Of this process and of those it has started, in seconds."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


class _Fresh:
    """Runs with a directory that is not there yet, far from those that were removed before."""

    def __init__(self, folder: Path, run: Callable[[Path], None]) -> None:
        self._folder, self._run, self._count = folder, run, 0
        spread_below(folder)

    def before(self) -> None:
        """Removes the last round's."""
        shutil.rmtree(self._folder / f"{self._count}", ignore_errors=True)
        self._count += 1
        (self._folder / f"{self._count}").mkdir()

    def __call__(self) -> None:
        self._run(self._folder / f"{self._count}")


def _apply(archive: Path, *command: str | Path) -> Prepare:
    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        if shutil.which(str(command[0])) is None:
            raise NotHere("not installed")
        yield _Fresh(folder, lambda place: quietly(*command, place)())

    return prepare


def _ours_apply(archive: Path) -> Prepare:
    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        def run(place: Path) -> None:
            layers = Layers(place / "layers", Store(place / "content"))
            with archive.open("rb") as file:
                layers.unpack_blocking(file)

        yield _Fresh(folder, run)

    return prepare


def _tree(archive: Path, folder: Path) -> Path:
    root = folder / "root"
    root.mkdir()
    quietly("tar", "--numeric-owner", "-xf", archive, "-C", root)()
    return root


def _ours_make(archive: Path) -> Prepare:
    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        root = _tree(archive, folder)

        def run(place: Path) -> None:
            Layers(place / "layers", Store(place / "content")).pack_blocking(root)

        yield _Fresh(folder, run)

    return prepare


def _make(archive: Path, script: str) -> Prepare:
    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        root = _tree(archive, folder)

        def run(place: Path) -> None:
            quietly(
                "sh",
                "-c",
                script.replace("ROOT", str(root)).replace("OUT", str(place / "out")) + "; sync " + str(place / "out"),
            )()

        yield _Fresh(folder, run)

    return prepare


def _umoci(archive: Path) -> Prepare:
    @contextmanager
    def prepare(folder: Path) -> Iterator[Callable[[], None]]:
        if shutil.which("umoci") is None:
            raise NotHere("not installed")
        root = _tree(archive, folder)
        tar = folder / "tree.tar"
        quietly("tar", "--numeric-owner", "-cf", tar, "-C", root, ".")()

        def run(place: Path) -> None:
            quietly("umoci", "init", "--layout", place / "oci")()
            quietly("umoci", "new", "--image", f"{place / 'oci'}:x")()
            quietly("umoci", "raw", "add-layer", "--image", f"{place / 'oci'}:x", tar)()

        yield _Fresh(folder, run)

    return prepare
