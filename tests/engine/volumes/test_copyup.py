"""Copy-up: what the image has at a volume's place becomes the volume's first content, and nothing else does."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from dosirak.engine.errors import HostLimit
from dosirak.engine.volumes.copyup import copy_up

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def layers(tmp_path):
    base, top, target = tmp_path / "base", tmp_path / "top", tmp_path / "target"
    for path in (base / "data", top / "data", target):
        path.mkdir(parents=True)
    return base, top, target


def copy(layers, path="/data"):
    base, top, target = layers
    return copy_up([str(top), str(base)], path, str(target))


def test_content_owners_modes_times_and_links_are_kept(layers):
    base, top, target = layers
    (top / "data").rmdir()  # else it would give the directory's own attributes
    data = base / "data"
    (data / "dir").mkdir()
    (data / "dir/file").write_text("hello")
    os.chown(data / "dir/file", 1000, 1001)
    (data / "dir/file").chmod(0o4711)
    os.utime(data / "dir/file", ns=(10**18, 10**18 + 5))
    os.setxattr(data / "dir/file", "user.note", b"kept")
    (data / "link").symlink_to("/etc/passwd")
    os.lchown(data / "link", 7, 8)
    os.mkfifo(data / "fifo", 0o640)
    data.chmod(0o1777)
    os.chown(data, 33, 34)
    assert copy(layers) is True
    found = os.stat(target / "dir/file")
    assert (target / "dir/file").read_text() == "hello"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1001, 0o4711)
    assert found.st_mtime_ns == 10**18 + 5
    assert os.getxattr(target / "dir/file", "user.note") == b"kept"
    assert os.readlink(target / "link") == "/etc/passwd"
    assert os.lstat(target / "link").st_uid == 7
    assert stat.S_ISFIFO(os.lstat(target / "fifo").st_mode)
    root = os.stat(target)
    assert (stat.S_IMODE(root.st_mode), root.st_uid, root.st_gid) == (0o1777, 33, 34)


def test_the_merged_view_counts(layers):
    base, top, target = layers
    (base / "data/gone").write_text("x")
    (base / "data/both").write_text("old")
    (top / "data/both").write_text("new")
    os.mknod(top / "data/gone", stat.S_IFCHR, os.makedev(0, 0))  # a whiteout
    copy(layers)
    assert sorted(os.listdir(target)) == ["both"]
    assert (target / "both").read_text() == "new"


def test_a_volume_with_content_is_left_alone(layers):
    base, _, target = layers
    (base / "data/file").write_text("x")
    (target / "mine").write_text("y")
    assert copy(layers) is False
    assert os.listdir(target) == ["mine"]


@pytest.mark.parametrize("path", ["/nothing", "/data/file", "/data/file/deeper", "/loop"])
def test_a_place_that_is_no_directory_copies_nothing(layers, path):
    base, _, target = layers
    (base / "data/file").write_text("x")
    (base / "loop").symlink_to("/loop")
    assert copy(layers, path) is False
    assert os.listdir(target) == []


@pytest.mark.parametrize("link", ["/", "..", "/proc/self/root", "{host}"])
def test_a_symlink_never_leads_to_the_host(layers, tmp_path, link):
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("secret")
    base, top, target = layers
    for layer in (base, top):
        (layer / "data").rmdir()
    (base / "data").symlink_to(link.format(host=host))
    copy(layers)
    assert "secret" not in os.listdir(target)
    assert not [name for name in os.listdir(target) if name not in ("data",)]


def test_overlay_marks_do_not_travel(layers):
    base, _, target = layers
    (base / "data/dir").mkdir()
    os.setxattr(base / "data/dir", "user.overlay.opaque", b"y")
    copy(layers)
    assert [name for name in os.listxattr(target / "dir") if "overlay" in name] == []


def test_a_socket_is_left_out(layers):
    base, _, target = layers
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(base / "data", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
    (base / "data/file").write_text("x")
    copy(layers)
    assert os.listdir(target) == ["file"]


def test_a_single_layer(layers):
    base, _, target = layers
    (base / "data/file").write_text("x")
    assert copy_up([str(base)], "/data", str(target)) is True
    assert copy_up([], "/data", str(target)) is False


def test_a_bottomless_tree_is_refused_with_one_line(layers):
    base, _, _ = layers
    here = os.open(base / "data", os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(HostLimit, match=r"volume at /data: .* directories nested more than 128 deep"):
        copy(layers)
