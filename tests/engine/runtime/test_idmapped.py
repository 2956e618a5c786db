"""Owners seen through a user namespace, on the real kernel: on disk nothing of it shows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.runtime import idmapped, namespaces
from dosirak.engine.runtime import syscalls as sys

BASE = 1879048192
MAPS: dict[str, Any] = {
    f"{kind}Mappings": [{"containerID": 0, "hostID": BASE, "size": 65536}] for kind in ("uid", "gid")
}


def apart(work: Callable[[], Any]) -> Any:
    """Call it in a process of its own: it changes namespaces and ids."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        except BaseException as error:
            os.write(write, json.dumps(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        told = answer.read()
    os.waitpid(pid, 0)
    return json.loads(told)


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    """Two layers, with files of user 0 and of user 1000, and directories for what is written."""
    for name in ("one", "two", "own/upper", "own/work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "one/roots").write_text("root's")
    (tmp_path / "two/users").write_text("a user's")
    os.chown(tmp_path / "two/users", 1000, 1000)
    return tmp_path


def mounted(layers: Path, user: int, *, attached: bool) -> int:
    lower = [str(layers / "one"), str(layers / "two")]
    upper, work = (str(layers / "own" / name) for name in ("upper", "work"))
    return idmapped.open_overlay(lower, upper, work, user=user, owner=(BASE, BASE), attached=attached)


@pytest.mark.parametrize("attached", [False, True], ids=["detached layers", "as before kernel 6.15"])
def test_a_container_owns_its_layers_and_the_disk_shows_its_own_ids(layers: Path, attached: bool) -> None:
    def work() -> Any:
        user = namespaces.make_user(MAPS)
        tree = mounted(layers, user, attached=attached)
        outside = [os.stat(name, dir_fd=tree).st_uid for name in ("roots", "users")]
        namespaces.enter_user(user)
        os.fchdir(tree)
        inside = [os.stat(name).st_uid for name in ("roots", "users")]
        Path("made").write_text("new")
        os.chown("made", 5, 6)
        with open("roots", "a") as file:
            file.write(" and more")
        os.unlink("users")
        return outside, inside

    assert apart(work) == [[BASE, BASE + 1000], [0, 1000]]
    upper = layers / "own/upper"
    made, copied, whiteout = ((upper / name).lstat() for name in ("made", "roots", "users"))
    assert (made.st_uid, made.st_gid) == (5, 6)
    assert (copied.st_uid, copied.st_gid) == (0, 0)
    assert (whiteout.st_rdev, whiteout.st_uid) == (0, 0)
    assert (layers / "one/roots").read_text() == "root's"
    assert not any(
        line.split()[4].startswith(str(layers)) for line in Path("/proc/self/mountinfo").read_text().splitlines()
    )


def test_layers_to_be_read_only_need_no_place_to_write(layers: Path) -> None:
    def work() -> Any:
        user = namespaces.make_user(MAPS)
        both = idmapped.open_overlay([str(layers / "one"), str(layers / "two")], user=user)
        alone = idmapped.open_overlay([str(layers / "two")], user=user)
        namespaces.enter_user(user)
        found = [os.stat("users", dir_fd=tree).st_uid for tree in (both, alone)]
        os.fchdir(alone)
        try:
            Path("users").write_text("x")
        except OSError as error:
            found.append(error.errno or 0)
        return found

    assert apart(work) == [1000, 1000, 30]


@pytest.mark.parametrize("own", [True, False], ids=["mappings of its own", "the container's"])
def test_a_bind_mount_is_mapped_by_its_own_mappings_or_the_containers(layers: Path, own: bool) -> None:
    def work() -> Any:
        user = namespaces.make_user(MAPS)
        tree = sys.open_tree(sys.AT_FDCWD, str(layers / "two"), sys.OPEN_TREE_CLONE)
        other = {name: [{**entries[0], "hostID": BASE + 65536}] for name, entries in MAPS.items()}
        idmapped.apply(tree, user, other if own else {}, recursive=False)
        return os.stat("users", dir_fd=tree).st_uid

    assert apart(work) == BASE + 1000 + (65536 if own else 0)


def test_a_file_system_that_knows_no_maps_is_named(tmp_path: Path) -> None:
    def work() -> Any:
        tree = sys.open_tree(sys.AT_FDCWD, "/proc", sys.OPEN_TREE_CLONE)
        idmapped.apply(tree, namespaces.make_user(MAPS), {"source": "/proc"}, recursive=False)

    told = apart(work)
    assert "idmapped mounts are not supported here" in told
    assert "/proc" in told


def test_idmap_without_any_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="idmap needs mappings"):
        idmapped.apply(-1, -1, {}, recursive=False)
