"""Paths inside a root that somebody else owns: nothing leads out of it, not even while it is being rearranged."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dosirak.engine.runtime import inroot
from dosirak.engine.runtime.syscalls import renameat2

RENAME_EXCHANGE = 2
ROUNDS = 150


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with a few ordinary things in it."""
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text("inside")
    (made / "a/b").mkdir(parents=True)
    return made


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def content(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "path",
    [
        "etc/passwd",
        "/etc/passwd",
        "///etc//./passwd",
        "../../../../../../../etc/passwd",
        "/../etc/../../etc/passwd",
        "a/b/../../../../../etc/passwd",
        b"/etc/passwd",
    ],
)
def test_paths_start_and_stay_at_the_root(root: int, path: str | bytes) -> None:
    assert content(inroot.open_in_root(root, path, os.O_RDONLY)) == b"inside"


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "../etc", "/../../etc", "/a/b/../../../../etc"])
def test_symlinks_mean_the_roots_own_paths(root: int, tree: Path, target: str) -> None:
    (tree / "a/link").symlink_to(target)
    assert content(inroot.open_in_root(root, "a/link/passwd", os.O_RDONLY)) == b"inside"


def test_the_empty_path_is_the_root(root: int, tree: Path) -> None:
    fd = inroot.open_in_root(root, "", os.O_PATH)
    assert os.fstat(fd).st_ino == tree.stat().st_ino
    os.close(fd)


def test_descriptors_are_closed_on_exec(root: int) -> None:
    for fd in (inroot.open_in_root(root, "etc", os.O_PATH), inroot.make_dirs(root, "x/y"), inroot.make_file(root, "f")):
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_magic_links_lead_nowhere() -> None:
    """With the host's /proc below the root, as in a container that runs."""
    host = os.open("/", os.O_PATH | os.O_DIRECTORY)
    for path in ("/proc/self/root/etc/hostname", "/proc/self/cwd", "/proc/self/exe", f"/proc/self/fd/{host}/etc"):
        with pytest.raises(OSError) as caught:
            inroot.open_in_root(host, path, os.O_PATH)
        assert caught.value.errno == errno.ELOOP, path
    os.close(host)


def test_a_loop_of_symlinks_is_an_error(root: int, tree: Path) -> None:
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"):
        inroot.open_in_root(root, "one", os.O_RDONLY)
    with pytest.raises(OSError, match="Too many levels"):
        os.close(inroot.make_dirs(root, "one/x"))


# make_dirs, make_file, open_parent


@pytest.mark.parametrize("path", ["x/y/z", "/x/y/z", "../../x/./y//z/", "a/b/../../x/y/z"])
def test_missing_directories_are_made_inside(root: int, tree: Path, path: str) -> None:
    before = sorted(os.listdir(tree.parent))
    os.close(inroot.make_dirs(root, path))
    assert (tree / "x/y/z").is_dir()
    assert sorted(os.listdir(tree.parent)) == before


def test_existing_directories_are_only_opened(root: int, tree: Path) -> None:
    (tree / "a").chmod(0o700)
    os.close(inroot.make_dirs(root, "a/b"))
    os.close(inroot.make_dirs(root, "a/b/c", 0o711))
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tree / "a/b/c").stat().st_mode) == 0o711


def test_directories_are_made_through_symlinks_inside(root: int, tree: Path) -> None:
    (tree / "var").mkdir()
    (tree / "run").mkdir()
    (tree / "var/run").symlink_to("/run")
    os.close(inroot.make_dirs(root, "var/run/lock/x"))
    assert (tree / "run/lock/x").is_dir()


@pytest.mark.parametrize("target", ["/missing", "../../missing", "missing"])
def test_a_dangling_symlink_makes_nothing(root: int, tree: Path, target: str) -> None:
    (tree / "a/link").symlink_to(target)
    before = sorted(os.listdir(tree.parent)), sorted(os.listdir(tree)), sorted(os.listdir(tree / "a"))
    for make in (
        lambda: inroot.make_dirs(root, "a/link/x"),
        lambda: inroot.make_dirs(root, "a/link"),
        lambda: inroot.make_file(root, "a/link"),
        lambda: inroot.make_file(root, "a/link/x"),
    ):
        with pytest.raises(OSError):
            os.close(make())
    assert (sorted(os.listdir(tree.parent)), sorted(os.listdir(tree)), sorted(os.listdir(tree / "a"))) == before


def test_an_absolute_symlink_to_the_host_makes_nothing_there(root: int, tree: Path, marker: Path) -> None:
    (tree / "out").symlink_to(marker.parent)
    (tree / "file").symlink_to(marker)
    for make in (
        lambda: inroot.make_dirs(root, "out/x"),
        lambda: inroot.make_file(root, "out/x"),
        lambda: inroot.make_file(root, "file"),
    ):
        with pytest.raises(OSError):
            os.close(make())


def test_what_is_no_directory_stops_the_way(root: int, tree: Path) -> None:
    for call in (lambda: inroot.make_dirs(root, "etc/passwd/x"), lambda: inroot.make_dirs(root, "etc/passwd")):
        with pytest.raises(NotADirectoryError):
            os.close(call())


def test_the_parent_of_a_missing_name(root: int, tree: Path) -> None:
    parent, name = inroot.open_parent(root, "/a/b/new/")
    assert (name, os.fstat(parent).st_ino) == (b"new", (tree / "a/b").stat().st_ino)
    os.close(parent)
    parent, name = inroot.open_parent(root, "p/q/new", create=True)
    assert (name, os.fstat(parent).st_ino) == (b"new", (tree / "p/q").stat().st_ino)
    os.close(parent)
    with pytest.raises(FileNotFoundError):
        inroot.open_parent(root, "no/such/new")


def test_the_last_component_is_never_followed(root: int, tree: Path, marker: Path) -> None:
    (tree / "link").symlink_to(marker)
    parent, name = inroot.open_parent(root, "link")
    os.unlink(name, dir_fd=parent)
    os.close(parent)
    assert not (tree / "link").is_symlink()


@pytest.mark.parametrize("path", ["", "/", ".", "..", "a/..", "a/.", "///"])
def test_a_path_without_a_last_name_has_no_parent(root: int, path: str) -> None:
    with pytest.raises(OSError) as caught:
        inroot.open_parent(root, path, create=True)
    assert caught.value.errno == errno.EINVAL


def test_no_descriptor_is_lost(root: int, tree: Path) -> None:
    (tree / "dangling").symlink_to("nowhere")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("q/r/s", "etc/passwd/x", "dangling/x", "a/b", "..", ""):
        for call in (inroot.make_dirs, inroot.make_file):
            with contextlib.suppress(OSError):
                os.close(call(root, path))
        with contextlib.suppress(OSError):
            os.close(inroot.open_parent(root, path, create=True)[0])
        with contextlib.suppress(OSError):
            inroot.read_file(root, path, 100)
    assert len(os.listdir("/proc/self/fd")) == before


def test_reading_has_a_limit(root: int) -> None:
    assert inroot.read_file(root, "etc/passwd", 6) == b"inside"
    with pytest.raises(OSError) as caught:
        inroot.read_file(root, "etc/passwd", 5)
    assert caught.value.errno == errno.EFBIG


# Races


@pytest.fixture
def exchanging(tree: Path, marker: Path) -> Iterator[Path]:
    """A directory "swap" of the root that is ever again exchanged for a symlink to the host's marker folder."""
    (tree / "swap").mkdir()
    (tree / "other").symlink_to(marker.parent)
    stop = threading.Event()
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY)

    def exchange() -> None:
        while not stop.is_set():
            renameat2(fd, "swap", fd, "other", RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    yield tree / "swap"
    stop.set()
    thread.join()
    os.close(fd)


def race(attempt: Callable[[int], bool]) -> int:
    """How many of the rounds came out true; a refusal is false."""
    won = 0
    for number in range(ROUNDS):
        with contextlib.suppress(OSError):
            won += attempt(number)
    return won


def test_an_exchanged_directory_never_leads_to_the_host(root: int, exchanging: Path, marker: Path) -> None:
    def escaped(number: int) -> bool:
        kept = 0
        with contextlib.suppress(OSError):
            fd = inroot.open_in_root(root, "swap", os.O_PATH)
            kept = os.fstat(fd).st_ino == marker.parent.stat().st_ino
            os.close(fd)
        with contextlib.suppress(OSError):
            kept += inroot.read_file(root, "swap/marker", 1000) == marker.read_bytes()
        for make, name in ((inroot.make_dirs, f"swap/d{number}/e"), (inroot.make_file, f"swap/f{number}")):
            with contextlib.suppress(OSError):
                os.close(make(root, name))
        return bool(kept)

    assert race(escaped) == 0
    # The marker fixture looks that nothing was made beside it.


def test_control_a_naive_implementation_is_fooled(tree: Path, exchanging: Path, marker: Path) -> None:
    """Check, then open by path: what the tests above would see if openat2 were not used."""

    def escaped(number: int) -> bool:
        path = tree / "swap"
        if path.is_symlink():
            return False
        try:
            return (path / "marker").read_bytes() == marker.read_bytes()
        except FileNotFoundError:
            return False

    for _ in range(200):
        if race(escaped):
            return
    pytest.fail("the exchanging loop never hit: these tests prove nothing")


def test_a_file_exchanged_for_a_fifo_never_hangs(root: int, tree: Path) -> None:
    os.mkfifo(tree / "etc/fifo")
    stop = threading.Event()
    fd = os.open(tree / "etc", os.O_PATH | os.O_DIRECTORY)

    def exchange() -> None:
        while not stop.is_set():
            renameat2(fd, "passwd", fd, "fifo", RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(ROUNDS):
            try:
                assert inroot.read_file(root, "etc/passwd", 100) == b"inside"
            except OSError as error:
                assert error.errno == errno.EINVAL
    finally:
        stop.set()
        thread.join()
        os.close(fd)
