"""GNU tar's archives of one tree, in each of its formats: what is extracted is what GNU tar extracts itself."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from pathlib import Path

import pytest

from support.rootless import VARIABLE as ROOTLESS
from support.seeds import seed

from .conftest import Place

OPTIONS = {
    "ustar": ["--format=ustar"],
    "gnu": ["--format=gnu"],
    "oldgnu": ["--format=oldgnu"],
    "pax": ["--format=pax", "--xattrs"],
    "gnu sparse": ["--format=gnu", "-S"],
    "oldgnu sparse": ["--format=oldgnu", "-S"],
    **{f"pax sparse {one}": ["--format=pax", "-S", f"--sparse-version={one}"] for one in ("0.0", "0.1", "1.0")},
}
LONG_NAMES = {"gnu", "pax"}
"""The first words of the formats that have room for names of any length, and for high ids."""


def tree(root: Path, dice: random.Random, *, roomy: bool) -> None:
    """Files of all kinds; `roomy`: with names and ids that the old formats have no room for."""
    names = ["a", "with blank", "새", "-dash", "new\nline", *(("n" * 200, "ö" * 110) if roomy else ())]
    places = [root]
    for number, name in enumerate(names):
        place = dice.choice(places) / name
        if not roomy and len(os.fsencode(place.relative_to(root))) > 60:
            place = root / name
        place.mkdir(mode=0o755)
        places.append(place)
        file = place / "file"
        file.write_bytes(dice.randbytes(dice.choice((0, 1, 511, 512, 513, 20_000))))
        os.link(file, dice.choice(places) / f"hard{number}")
        os.symlink(dice.choice(("file", "../..", "/etc/passwd", "gone" * (40 if roomy else 1))), place / "symbolic")
        os.mkfifo(place / "pipe")
        os.mknod(place / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        for entry in (file, place / "symbolic", place / "pipe", place):
            ids = [dice.choice((0, 1000, 70_000, *((3_000_000,) if roomy else ()))) for _ in range(2)]
            os.chown(entry, *ids, follow_symlinks=False)
        os.chmod(file, dice.choice((0o644, 0o4755, 0o600, 0)))
    if roomy:
        os.setxattr(root / "a" / "file" if (root / "a").is_dir() else root, "user.word", b"value\0of bytes")
    with (root / "holes").open("wb") as sparse:
        for at in sorted(dice.sample(range(60), 30)):
            sparse.seek(at * 65_536)
            sparse.write(b"data %d" % at)
        sparse.truncate(60 * 65_536 + dice.choice((0, 1, 100_000)))
    with (root / "only a hole").open("wb") as sparse:
        sparse.truncate(1_000_000)
    for here, directories, files in os.walk(root, topdown=False):
        for name in (*files, *directories):
            os.utime(Path(here) / name, (1, dice.randint(1, 2**31)), follow_symlinks=False)


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a directory; a hard link is the first of its names."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        status, name = path.lstat(), str(path.relative_to(root))
        content: object = status.st_rdev
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        same = first.setdefault(status.st_ino, name)
        owner = (status.st_uid, status.st_gid)
        found[name] = (oct(status.st_mode), owner, int(status.st_mtime), status.st_nlink, same, content, attributes)
    return found


@pytest.mark.skipif(ROOTLESS in os.environ, reason="tar makes devices")
@pytest.mark.parametrize("format", OPTIONS)
def test_what_gnu_tar_packs_is_unpacked_as_gnu_tar_unpacks_it(place: Place, tmp_path: Path, format: str) -> None:
    source, theirs = tmp_path / "source", tmp_path / "theirs"
    source.mkdir()
    theirs.mkdir()
    tree(source, random.Random(seed()), roomy=format.split()[0] in LONG_NAMES)
    options = ["tar", *OPTIONS[format], "--sort=name", "--numeric-owner", "-c", "-C", source, "."]
    data = subprocess.run(options, check=True, capture_output=True).stdout
    unpack = ["tar", "-x", "-p", "--numeric-owner", "--xattrs", "-C", theirs]
    subprocess.run(unpack, input=data, check=True, capture_output=True)
    place.extract(data)
    found = seen(place.root)
    assert found == seen(theirs)
    assert len(found) > 30
    if "sparse" in format:
        assert (place.root / "holes").stat().st_blocks * 512 < (place.root / "holes").stat().st_size / 2
