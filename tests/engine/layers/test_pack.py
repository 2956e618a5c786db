"""Directories into tars: the same bytes for the same directory, and back."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.pack import Packer
from dosirak.engine.layers.removal import remove_tree
from dosirak.engine.runtime.overlay import open_overlay
from support.tars import member, tar

from .conftest import Place
from .model import picture_of


def pack(directory: Path, *, as_layer: bool = True, room: int | None = None) -> bytes:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return b"".join(Packer(fd, as_layer=as_layer, room=room))
    finally:
        os.close(fd)


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: info for info in archive}


EVERYTHING = [
    member("./", "dir", mode=0o751, uid=1, mtime=1_500_000_000),
    member("d", "dir", mode=0o700, uid=70000, gid=3_000_000_000, mtime=1_500_000_000),
    member("d/.wh..wh..opq"),
    member("d/f", "file", "x" * 5000, mode=0o4711, mtime=1_600_000_000),
    member("d/" + "n" * 200, "file", "long"),
    member("d/.wh.gone"),
    member("hard", "link", "d/f"),
    member("sym", "symlink", "t" * 150),
    member("null", "char", devmajor=1, devminor=3),
    member("pipe", "fifo"),
    member("empty", "file", ""),
    member("caf\u00e9", "file", "é", pax_headers={"SCHILY.xattr.user.x": "y"}),
]


def test_an_unpacked_layer_packs_into_the_same_layer_again(place: Place, tmp_path: Path) -> None:
    place.extract(tar(EVERYTHING))
    first = pack(place.root)
    again = Place(tmp_path / "again")
    again.root.mkdir(parents=True)
    again.extract(first)
    assert pack(again.root) == first
    assert picture_of(again.root) == picture_of(place.root)
    found = members(first)
    assert found["d"].gid == 3_000_000_000
    assert (found["hard"].mode, found["hard"].size, found["hard"].mtime) == (0o4711, 5000, 1_600_000_000)
    assert (found["d/f"].islnk(), found["d/f"].linkname) == (True, "hard")
    assert found["caf\u00e9"].pax_headers["SCHILY.xattr.user.x"] == "y"
    assert {"d/.wh..wh..opq", "d/.wh.gone"} <= found.keys()
    assert "d/gone" not in found


def test_the_order_of_making_does_not_matter(tmp_path: Path) -> None:
    packed = []
    for number, order in enumerate(("abc", "cab")):
        directory = tmp_path / str(number)
        directory.mkdir()
        for name in order:
            (directory / name).write_text(name)
            os.utime(directory / name, (1, 1))
        os.utime(directory, (1, 1))
        packed.append(pack(directory))
    assert packed[0] == packed[1]


def test_gnu_tar_reads_it_and_finds_what_is_there(place: Place, tmp_path: Path) -> None:
    place.extract(tar(EVERYTHING))
    file = tmp_path / "packed.tar"
    file.write_bytes(pack(place.root, as_layer=False))
    done = subprocess.run(["tar", "-d", "-f", file, "-C", place.root], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_an_overlay_has_done_comes_back_as_whiteouts(tmp_path: Path) -> None:
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for path in (lower / "d", lower / "e", upper, work):
        path.mkdir(parents=True)
    for path in (lower / "d/old", lower / "e/kept", lower / "gone"):
        path.write_text("x")
    fd = open_overlay([os.fspath(lower)], os.fspath(upper), os.fspath(work))
    try:
        os.unlink("gone", dir_fd=fd)
        os.unlink("d/old", dir_fd=fd)
        os.rmdir("d", dir_fd=fd)
        os.mkdir("d", dir_fd=fd)
        os.mkdir("e/new", dir_fd=fd)
    finally:
        os.close(fd)
    found = members(pack(upper))
    assert set(found) == {".", "d", "d/.wh..wh..opq", ".wh.gone", "e", "e/new"}
    assert not any("overlay" in key for info in found.values() for key in info.pax_headers)
    # And so the layer, unpacked somewhere else, does to the lower directory what the container did.
    layer = tmp_path / "layer"
    place = Place(layer)
    place.root.mkdir(parents=True)
    place.extract(pack(upper))
    fd = open_overlay([os.fspath(place.root), os.fspath(lower)])
    try:
        assert sorted(os.listdir(fd_path := f"/proc/self/fd/{fd}")) == ["d", "e"]
        assert os.listdir(f"{fd_path}/d") == []
        assert sorted(os.listdir(f"{fd_path}/e")) == ["kept", "new"]
    finally:
        os.close(fd)


def test_a_detached_mount_is_packed_as_one_root(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    fd = open_overlay([os.fspath(tmp_path / "one"), os.fspath(tmp_path / "two")])
    try:
        assert members(b"".join(Packer(fd, as_layer=False))).keys() == {".", "one", "two"}
    finally:
        os.close(fd)


def test_what_no_tar_can_hold_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / ".wh.f").write_text("a file that would read as a whiteout")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(tmp_path / "socket"))
        assert members(pack(tmp_path)).keys() == {".", "f"}


def test_a_file_larger_than_the_room_is_no_endless_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(OSError, match="No space left on device"):
        pack(tmp_path, room=1 << 30)


def test_a_file_that_shrinks_meanwhile_keeps_its_promised_length(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        pieces = iter(Packer(fd, as_layer=True))
        data = next(pieces)
        os.truncate(tmp_path / "f", 0)
        data += b"".join(pieces)
    finally:
        os.close(fd)
    assert members(data)["f"].size == 3_000_000


def test_a_symlink_is_packed_not_followed(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "out").symlink_to("/etc")
    found = members(pack(tmp_path / "r"))
    assert found.keys() == {".", "out"}
    assert found["out"].linkname == "/etc"


names = st.text("ab.wh", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(names, st.sampled_from(["file", "dir", "symlink", "fifo"]), names), max_size=6))
def test_packing_and_extracting_is_the_identity(tmp_path: Path, content: list[tuple[str, str, str]]) -> None:
    one, two = Place(tmp_path / "one"), Place(tmp_path / "two")
    for place in (one, two):
        remove_tree(place.root)
        place.root.mkdir(parents=True)
    try:
        one.extract(tar(member(f"{name}/{other}", kind, "target") for name, kind, other in content))
    except CorruptArchive:
        return
    two.extract(pack(one.root))
    assert picture_of(two.root) == picture_of(one.root)
    assert pack(two.root) == pack(one.root)
