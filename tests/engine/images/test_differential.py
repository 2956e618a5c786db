"""Images of random layers, in every tar format: the engine's root filesystem is the one umoci unpacks."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.patience import patient
from support.rootless import VARIABLE as ROOTLESS
from support.seeds import LONG, seed
from support.tars import member, tar

from .conftest import Room, docker_archive

IMAGES = 300 if LONG else 8
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
LEAVES = ("file", "file", "file", "symlink", "fifo", "char", "link")
pytestmark = [
    pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed"),
    pytest.mark.skipif(ROOTLESS in os.environ, reason="umoci makes devices"),
    pytest.mark.timeout(patient(3600 if LONG else 120)),
]


class Layer:
    """One layer over what is below; `tree` is what a container then sees: path → whether it is a directory."""

    def __init__(self, dice: random.Random, below: dict[str, bool]) -> None:
        self._dice = dice
        self.tree = dict(below)
        self.members: list[tuple[tarfile.TarInfo, bytes]] = []
        self._own: dict[str, str] = {}
        for _ in range(dice.randint(3, 14)):
            dice.choice((self._leaf, self._leaf, self._leaf, self._directory, self._whiteout, self._opaque))()

    def _place(self) -> str:
        """A directory that there is."""
        path = self._dice.choice(["", *sorted(name for name, is_directory in self.tree.items() if is_directory)])
        self._parents(path)
        return path

    def _parents(self, path: str) -> None:
        """A layer names the directories of what it names, as all tools make it: each is unpacked by itself, and one
        that it leaves out would get a mode of its own, as in Docker's overlay2."""
        for length in range(1, path.count("/") + 2) if path else ():
            self._name("/".join(path.split("/")[:length]), "dir")

    def _name(self, path: str, kind: str, content: str = "") -> None:
        if kind == "dir" and self._own.get(path) == "dir":
            return
        self._own[path] = kind
        self.tree[path] = kind == "dir"
        dice = self._dice
        fields = {
            "mode": dice.choice((0o755, 0o644, 0o4711, 0o1777, 0o600)),
            "uid": dice.choice((0, 7, 70_000)),
            "gid": dice.choice((0, 9, 80_000)),
            "mtime": dice.randint(1, 2_000_000_000),
        }
        if kind == "char":
            fields |= {"devmajor": 1, "devminor": dice.randint(3, 9)}
        self.members.append(member(path, kind, content, **fields))

    def _free(self) -> str:
        """A name to use in some directory, which this layer says nothing of yet. It may be there below."""
        place = self._place()
        name = self._dice.choice(("a", "b", "c", "d", "ö", "e" * 120, " ", "-f"))
        path = f"{place}/{name}".lstrip("/")
        return "" if path in self._own or len(path) > 240 or f".wh.{path}" in self._own else path

    def _forget(self, path: str) -> None:
        self.tree = {name: kind for name, kind in self.tree.items() if not f"{name}/".startswith(f"{path}/")}

    def _leaf(self) -> None:
        kind = self._dice.choice(LEAVES)
        files = [name for name, what in self._own.items() if what == "file" and name in self.tree]
        if (kind == "link" and not files) or not (path := self._free()):
            return
        content = {"symlink": self._dice.choice(("../..", "/etc", "a", "gone")), "file": "x" * self._dice.randint(0, 9)}
        self._forget(path)
        self._name(path, kind, self._dice.choice(files) if kind == "link" else content.get(kind, ""))

    def _directory(self) -> None:
        if path := self._free():
            if not self.tree.get(path):
                self._forget(path)
            self._name(path, "dir")

    def _whiteout(self) -> None:
        there = [name for name in self.tree if not any(f"{own}/".startswith(f"{name}/") for own in self._own)]
        if there:
            path = self._dice.choice(there)
            head, _, name = path.rpartition("/")
            self._parents(head)
            self._forget(path)
            self._own[f".wh.{path}"] = self._own[path] = "whiteout"
            self.members.append(member(f"{head}/.wh.{name}".lstrip("/")))

    def _opaque(self) -> None:
        """Of a directory that this layer has named and nothing in it."""
        own = [name for name, kind in self._own.items() if kind == "dir" and self.tree.get(name)]
        own = [name for name in own if not any(other.startswith(f"{name}/") for other in self._own)]
        if own:
            path = self._dice.choice(own)
            self._forget(path)
            self.tree[path] = True
            self.members.append(member(f"{path}/.wh..wh..opq"))


@contextmanager
def stacked(lower: list[str], place: Path) -> Iterator[Path]:
    """What a container sees of these directories, the topmost first."""
    place.mkdir()
    if len(lower) == 1:
        lower = [*lower, str(place.with_name("empty"))]
        Path(lower[1]).mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "overlay", "t", "-o", f"ro,lowerdir={':'.join(lower)}", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def seen(root: Path) -> dict[str, object]:
    """Everything below a directory but the directories' times, which the two set otherwise where none is given."""
    found: dict[str, object] = {}
    for here, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(here) / name
            status = path.lstat()
            content: object = status.st_rdev
            if path.is_symlink():
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            times = None if stat.S_ISDIR(status.st_mode) else int(status.st_mtime)
            found[str(path.relative_to(root))] = (oct(status.st_mode), status.st_uid, status.st_gid, times, content)
    return found


async def test_umoci_unpacks_the_root_filesystem_that_a_container_sees(room: Room, tmp_path: Path) -> None:
    dice = random.Random(seed())
    entries = 0
    for number in range(IMAGES):
        layers, tree = [], {}
        for _ in range(dice.randint(1, 5)):
            made = Layer(dice, tree)
            tree = made.tree
            # What is too long for the oldest format goes into one of the others.
            long = any(len(info.name.encode()) > 99 for info, _ in made.members)
            layers.append(tar(made.members, dice.choice(FORMATS[1:] if long else FORMATS)))
        await room.load(docker_archive(([f"a:{number}"], layers)))
        image = await room.images.resolve(f"a:{number}")
        theirs = tmp_path / f"theirs-{number}"
        name = f"{room.path / 'content'}:docker.io/library/a:{number}"
        subprocess.run(["umoci", "raw", "unpack", "--image", name, theirs], check=True, timeout=60, capture_output=True)
        with stacked(await room.images.lower_dirs(image), tmp_path / f"ours-{number}") as ours:
            found = seen(ours)
            assert found == seen(theirs), number
        assert sorted(found) == sorted(tree), number
        entries += len(found)
    assert entries > IMAGES
