"""Other tools read the store as it lies, and see in it what the engine sees: it is an OCI image layout."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from .conftest import Room, docker_archive, layer

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
needs_umoci = pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed")
NAME = "docker.io/library/a:1"


def say(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifold() -> bytes:
    """A layer with most of what a tar can hold."""
    out = io.BytesIO()
    long = "/".join(["directory-with-a-name"] * 9) + "/file"
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mtime = kind, len(data), 1_600_000_000
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data))

        add("d", tarfile.DIRTYPE, mode=0o1777, uid=3, gid=4)
        add("d/file", data=b"some text", mode=0o4755)
        add("d/again", tarfile.LNKTYPE, linkname="d/file")
        add("d/link", tarfile.SYMTYPE, linkname="/etc/passwd", mode=0o777)
        add("d/pipe", tarfile.FIFOTYPE, mode=0o620)
        add("d/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        add("d/other", data=b"x" * 70_000, uid=3_000_000, gid=4_000_000, mode=0o600)
        add(long, data=b"deep")
        add("d/twice", data=b"first")
        add("d/twice", data=b"second", mode=0o640)
    return out.getvalue()


def tree(root: Path) -> dict[str, object]:
    """What there is below a directory, but for the directories that no entry names."""
    found: dict[str, object] = {}
    for here, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(here) / name
            status = path.lstat()
            content: object = status.st_rdev
            if path.is_symlink():
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = (path.read_bytes(), status.st_nlink)
            times = None if "directory-with" in name else int(status.st_mtime)
            found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, times, content)
    return found


@needs_skopeo
async def test_skopeo_reads_and_copies_what_lies_in_the_store(room: Room, tmp_path: Path) -> None:
    await room.load(docker_archive((["a:1"], [layer("base"), layer("top")]), compress=gzip.compress))
    place = room.path / "content"
    told = json.loads(say("skopeo", "inspect", "--config", f"oci:{place}:{NAME}"))
    assert told["rootfs"]["diff_ids"] == room.images.list()[0].diff_ids
    say("skopeo", "copy", "-q", f"oci:{place}:{NAME}", f"dir:{tmp_path / 'copy'}")
    assert len(list((tmp_path / "copy").iterdir())) >= 5


@needs_skopeo
async def test_what_skopeo_puts_into_the_store_is_an_image_here(room: Room, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(docker_archive((["b:2"], [layer("base")])))
    say("skopeo", "copy", "-q", f"docker-archive:{archive}", f"oci:{room.path / 'content'}:docker.io/library/b:2")
    image = await room.images.resolve("b:2")
    assert (Path((await room.images.lower_dirs(image))[0]) / "base").exists()


@needs_umoci
async def test_umoci_unpacks_from_the_store_what_the_engine_unpacks(room: Room, tmp_path: Path) -> None:
    await room.load(docker_archive((["a:1"], [manifold()])))
    image = room.images.list()[0]
    # umoci takes what stands behind the first colon for the name.
    say("umoci", "raw", "unpack", "--image", f"{room.path / 'content'}:{NAME}", tmp_path / "theirs")
    ours = tree(Path((await room.images.lower_dirs(image))[0]))
    assert len(ours) > 15
    assert ours == tree(tmp_path / "theirs")
