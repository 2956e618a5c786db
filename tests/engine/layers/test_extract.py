"""Extraction: what an entry becomes, and what archives try."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import stat
import struct
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.layers import tarread, tarwrite
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.runtime import privilege
from dosirak.engine.runtime.syscalls import AT_FDCWD, renameat2
from support.tars import files, member, tar

from .conftest import Place

# vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
EPOCH = 1_600_000_000


def xattrs(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def headers(**found: bytes) -> dict[str, str]:
    return {f"SCHILY.xattr.{key.replace('__', '.')}": value.decode("latin-1") for key, value in found.items()}


def with_xattrs(name: str, content: bytes, attributes: dict[bytes, bytes], kind: bytes = tarread.REGULAR) -> bytes:
    data = content + tarwrite.padding(len(content))
    return tarwrite.header(name.encode(), kind, size=len(content), xattrs=attributes) + data + tarwrite.END


def test_owner_mode_time_and_content_are_the_archive_s(place: Place) -> None:
    made = place.extract(
        tar(
            [
                member("d", "dir", mode=0o1750, uid=11, gid=12, mtime=EPOCH),
                member("d/f", "file", "content", mode=0o4755, uid=1000, gid=1001, mtime=EPOCH + 1),
                member("d/s", "symlink", "f", uid=5, gid=6, mtime=EPOCH + 2),
                member("d/l", "link", "d/f"),
                member("p", "fifo", mode=0o622, uid=3, mtime=EPOCH + 3),
                member("n", "char", mode=0o660, devmajor=1, devminor=3, gid=4),
                member("b", "block", devmajor=7, devminor=0x12345),
            ]
        )
    )
    assert (made.size, made.entries) == (7, 7)
    root = place.root
    directory, file, link = ((root / name).lstat() for name in ("d", "d/f", "d/s"))
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid, directory.st_gid) == (0o1750, 11, 12)
    assert directory.st_mtime == EPOCH
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid, file.st_mtime) == (0o4755, 1000, 1001, EPOCH + 1)
    assert (link.st_uid, link.st_gid, link.st_mtime) == (5, 6, EPOCH + 2)
    assert (root / "d/f").read_text() == "content"
    assert (root / "d/l").stat().st_ino == file.st_ino
    fifo, char, block = ((root / name).lstat() for name in ("p", "n", "b"))
    assert (fifo.st_mode, fifo.st_uid, fifo.st_mtime) == (stat.S_IFIFO | 0o622, 3, EPOCH + 3)
    assert (char.st_mode, char.st_rdev, char.st_gid) == (stat.S_IFCHR | 0o660, os.makedev(1, 3), 4)
    assert (stat.S_IFMT(block.st_mode), block.st_rdev) == (stat.S_IFBLK, os.makedev(7, 0x12345))


def test_the_umask_cuts_nothing(place: Place) -> None:
    before = os.umask(0o077)
    try:
        place.extract(
            tar([member("x/y/f", "file", "", mode=0o666), member("d", "dir", mode=0o777), member("p", "fifo")])
        )
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((place.root / name).lstat().st_mode) for name in ("x", "x/y", "x/y/f", "d", "p")}
    assert modes == {"x": 0o755, "x/y": 0o755, "x/y/f": 0o666, "d": 0o777, "p": 0o644}


def test_directories_keep_their_times_whatever_comes_into_them_later(place: Place) -> None:
    content = [member(f"d{n}", "dir", mtime=EPOCH + n) for n in range(200)]
    content += [member(f"d{n}/f", "file", "x") for n in range(200)]
    content += [member(".", "dir", mode=0o700, mtime=EPOCH - 1)]
    place.extract(tar(content))
    assert [(place.root / f"d{n}").stat().st_mtime for n in range(200)] == [EPOCH + n for n in range(200)]
    assert (place.root.stat().st_mtime, stat.S_IMODE(place.root.stat().st_mode)) == (EPOCH - 1, 0o700)


def test_a_directory_replaced_later_does_not_pass_its_time_on(place: Place) -> None:
    place.extract(
        tar([member("d", "dir", mtime=EPOCH), member("d", "symlink", "e"), member("e", "dir", mtime=EPOCH + 9)])
    )
    assert (place.root / "e").stat().st_mtime == EPOCH + 9


@pytest.mark.parametrize("mtime", ["-5", "1e9", "99999999999999", "0.999999999"])
def test_odd_times_are_bounded_or_refused(place: Place, mtime: str) -> None:
    data = tar([member("f", "file", "", pax_headers={"mtime": mtime})])
    if "e" in mtime:
        with pytest.raises(CorruptArchive):
            place.extract(data)
        return
    place.extract(data)
    assert (place.root / "f").stat().st_mtime_ns == {"0.999999999": 999_999_999}.get(mtime, 0)


def test_file_capabilities_and_user_attributes_are_kept(place: Place) -> None:
    place.extract(with_xattrs("f", b"x", {b"security.capability": CAPABILITY, b"user.note": b"a\0b"}))
    assert xattrs(place.root / "f") == {"security.capability": CAPABILITY, "user.note": b"a\0b"}


@pytest.mark.parametrize("kind", [tarread.REGULAR, tarread.DIRECTORY])
def test_attributes_that_are_not_the_image_s_business_are_dropped(place: Place, kind: bytes) -> None:
    names = [
        b"trusted.overlay.opaque",
        b"trusted.overlay.redirect",
        b"trusted.overlay.metacopy",
        b"trusted.overlay.whiteout",
        b"trusted.overlay.overlay.opaque",
        b"user.overlay.opaque",
        b"user.overlay.redirect",
        b"trusted.other",
        b"security.selinux",
        b"security.ima",
        b"system.posix_acl_access",
    ]
    place.extract(with_xattrs("f", b"", dict.fromkeys(names, b"y"), kind))
    assert xattrs(place.root / "f") == {}


@pytest.mark.parametrize("whiteouts", [True, False])
def test_a_raw_overlay_whiteout_is_refused(place: Place, whiteouts: bool) -> None:
    with pytest.raises(CorruptArchive, match="w: character device 0:0"):
        place.extract(tar([member("w", "char")]), whiteouts=whiteouts)
    # The control: another device is made.
    place.extract(tar([member("w", "char", devminor=1)]), whiteouts=whiteouts)


def test_whiteouts_become_overlayfs_own(place: Place) -> None:
    place.extract(
        tar([member(".wh.gone"), member("d/.wh..wh..opq"), member("d/new", "file", "x"), member(".wh..wh.plnk", "dir")])
    )
    gone = (place.root / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert xattrs(place.root / "d") == {privilege.here().opaque: b"y"}
    assert sorted(os.listdir(place.root)) == ["d", "gone"]


def test_outside_layers_a_whiteout_s_name_is_a_name(place: Place) -> None:
    place.extract(tar([member(".wh.a", "file", "x"), member(".wh..wh..opq", "file", "y")]), whiteouts=False)
    assert sorted(os.listdir(place.root)) == [".wh..wh..opq", ".wh.a"]


ATTACKS = {
    "a name that leads up": [member("../../marker", "file", "x")],
    "a name that leads up in the middle": [member("a/../../../marker", "file", "x")],
    "a hard link that leads up": [member("l", "link", "../../marker")],
    "a hard link to a directory": [member("d", "dir"), member("l", "link", "d")],
    "a hard link to itself": [member("f"), member("f", "link", "f")],
    "a hard link to nothing": [member("l", "link", "nothing")],
    "a hard link to a whiteout": [member(".wh.w"), member("l", "link", "w")],
    "a hard link to the root": [member("l", "link", "/")],
    "a file below a file": [member("f"), member("f/g")],
    "a file below a dangling link": [member("s", "symlink", "nowhere"), member("s/f")],
    "a file below a loop": [member("s", "symlink", "s"), member("s/f")],
    "an empty whiteout": [member(".wh.")],
    "a whiteout of the directory": [member("d/.wh..")],
    "a whiteout of the parent": [member("d/.wh...")],
    "a whiteout with content below": [member(".wh.d/f")],
    "a name of 256 bytes": [member("n" * 256)],
    "a symlink to nothing at all": [member("s", "symlink", "")],
    "the root as a file": [member("/", "file")],
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_what_no_honest_archive_has_is_refused(place: Place, kind: str) -> None:
    with pytest.raises(CorruptArchive):
        place.extract(tar(ATTACKS[kind]))


HARMLESS = {
    "an absolute name": ([member("/etc/passwd", "file", "x")], "etc/passwd"),
    "a link to the host, written through": (
        [member("s", "symlink", "/host"), member("host", "dir"), member("s/marker", "file", "x")],
        "host/marker",
    ),
    "a link up, written through": ([member("s", "symlink", "../.."), member("s/marker", "file", "x")], "marker"),
    "a link replaced by a directory": (
        [member("s", "symlink", "../.."), member("s", "dir"), member("s/marker")],
        "s/marker",
    ),
    "a link replaced by a file": ([member("s", "symlink", "../../marker"), member("s", "file", "x")], "s"),
    "a hard link through a link": (
        [member("marker", "file", "x"), member("s", "symlink", "../.."), member("l", "link", "s/marker")],
        "l",
    ),
    "a link to a link up": ([member("a", "symlink", "../.."), member("b", "symlink", "a"), member("b/f")], "f"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_leads_outside_by_name_stays_inside(place: Place, kind: str) -> None:
    content, expected = HARMLESS[kind]
    place.extract(tar(content))
    assert stat.S_ISREG((place.root / expected).lstat().st_mode)


def test_replacing_one_name_of_a_hard_link_leaves_the_other(place: Place) -> None:
    place.extract(tar([member("a", "file", "old"), member("b", "link", "a"), member("a", "file", "new")]))
    assert ((place.root / "a").read_text(), (place.root / "b").read_text()) == ("new", "old")


def test_a_replaced_directory_takes_its_content_along(place: Place) -> None:
    place.extract(tar([member("d/e/f", "file", "x"), member("d", "file", "y"), member("d", "dir")]))
    assert os.listdir(place.root / "d") == []


def test_existing_files_are_replaced_never_written_through(place: Place) -> None:
    (place.root / "f").symlink_to(place.marker)
    os.link(place.marker, place.host / "data" / "twin")
    os.rename(place.host / "data" / "twin", place.root / "g")
    place.extract(files(f="x", g="y"), whiteouts=False)
    assert (place.root / "f").read_text() == "x"
    assert (place.root / "g").read_text() == "y"
    assert not (place.root / "f").is_symlink()


def test_a_context_s_root_entry_leaves_the_directory_as_it_is(place: Place) -> None:
    place.root.chmod(0o711)
    place.extract(tar([member("./", "dir", mode=0o777, uid=5), member("./f", "file", "x")]), whiteouts=False)
    assert (stat.S_IMODE(place.root.stat().st_mode), place.root.stat().st_uid) == (0o711, 0)


def test_sparse_files_have_holes_again(place: Place) -> None:
    pax = {"GNU.sparse.map": "4096,3,999999,0", "GNU.sparse.size": "1000000", "GNU.sparse.name": "s"}
    place.extract(tar([member("GNUSparseFile.0/s", "file", "abc", pax_headers=pax)]))
    made = (place.root / "s").stat()
    assert (made.st_size, made.st_blocks <= 16) == (1_000_000, True)
    assert (place.root / "s").read_bytes() == bytes(4096) + b"abc" + bytes(1_000_000 - 4099)


def test_a_petabyte_of_nothing_is_refused_at_once(place: Place) -> None:
    pax = {"GNU.sparse.map": f"0,3,{1 << 50},0", "GNU.sparse.size": str(1 << 50), "GNU.sparse.name": "s"}
    begun = time.monotonic()
    with pytest.raises(HostLimit, match=r"s: no space left on device for \d+ bytes"):
        place.extract(tar([member("s", "file", "abc", pax_headers=pax)]))
    assert time.monotonic() - begun < 2
    assert os.listdir(place.root) == []


def test_files_that_together_are_larger_than_the_disk_are_refused_before_they_are_written(place: Place) -> None:
    room = os.statvfs(place.root)
    claimed = tarwrite.header(b"big", tarread.REGULAR, size=room.f_bavail * room.f_frsize + (1 << 30))
    with pytest.raises(HostLimit, match="big: no space left on device"):
        place.extract(claimed + bytes(1 << 20))
    assert os.listdir(place.root) == []


def test_errors_name_the_entry_and_stay_on_one_line(place: Place) -> None:
    with pytest.raises(CorruptArchive, match=r"^d/\\x1b\\n\\u202e\.wh/\.\.\./f: not a directory$"):
        place.extract(
            tar([member("d/\x1b\n\u202e.wh/...", "file"), member("d/\x1b\n\u202e.wh/.../f")], tarfile.PAX_FORMAT)
        )


@pytest.fixture
def exchanging(place: Place) -> Iterator[None]:
    """A process that makes the directory `d` a symlink to the host, and back again, as fast as it can."""
    child = os.fork()
    if child == 0:
        for number in itertools.count():
            # The extraction replaces the symlink: then both are directories, and one has to make room for a new link.
            with contextlib.suppress(OSError):
                if not (place.root / "s").is_symlink():
                    (place.root / "s").rename(place.root / f"gone{number}")
            for make in (lambda: (place.root / "s").symlink_to(place.host), lambda: (place.root / "d").mkdir()):
                with contextlib.suppress(OSError):
                    make()
            with contextlib.suppress(OSError):
                for _ in range(50):
                    renameat2(AT_FDCWD, str(place.root / "d"), AT_FDCWD, str(place.root / "s"), 2)
    yield
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.usefixtures("exchanging")
def test_a_container_that_exchanges_directories_meanwhile_leads_nothing_outside(place: Place) -> None:
    """The race of CVE-2018-15664: between a check and its use, the directory is a symlink to the host."""
    data = tar(
        [
            *[member("d", "dir", mode=0o711, uid=7)] * 40,
            member("d/marker", "file", "x", mode=0o711, uid=7),
            member("d/new/f", "file", "x"),
            member("d/p", "fifo", mode=0o711),
            member("d/l", "link", "d/marker"),
            member("d/marker", "fifo", mode=0o711),
        ]
    )
    outcomes = {"through": 0, "refused": 0}
    rounds = 0
    # As often as it takes until the exchange has hit: a busy machine may let the two run in turns for a while.
    while rounds < 300 or (min(outcomes.values()) == 0 and rounds < 3000):
        rounds += 1
        try:
            place.extract(data, whiteouts=False)
            outcomes["through"] += 1
        except CorruptArchive:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0, "the race was not run"


def test_an_archive_of_more_entries_than_there_are_inodes_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=60,size=8m", "dosirak-test", str(place)], check=True)
    try:
        (place / "data/root").mkdir(parents=True)
        with pytest.raises(HostLimit, match="more entries than the disk has inodes left"):
            # Entries that make no file at all count as well: what is written again and again ends, too.
            Place(place).extract(tar([member("same", "file", str(number)) for number in range(70)]))
        assert Place(place).extract(tar([member("same", "file", str(number)) for number in range(40)])).entries == 40
    finally:
        subprocess.run(["umount", str(place)], check=True)
