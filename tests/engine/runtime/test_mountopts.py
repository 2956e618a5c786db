"""The options of a mount in config.json, as the mount calls take them."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions

RO, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
ATIME, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW = 0x70, 0x10, 0x20, 0x80, 0x200000


@pytest.mark.parametrize(
    ("options", "on", "off"),
    [
        ([], 0, 0),
        (["ro"], RO, 0),
        (["rw"], 0, RO),
        (["ro", "rw"], 0, RO),
        (["rw", "ro"], RO, 0),
        (["nosuid", "noexec", "nodev", "ro"], RO | NOSUID | NODEV | NOEXEC, 0),
        (["suid", "exec", "dev"], 0, NOSUID | NODEV | NOEXEC),
        (["nosuid", "suid"], 0, NOSUID),
        # mount_setattr(2): whoever sets an access time mode must clear all of them
        (["noatime"], NOATIME, ATIME),
        (["strictatime"], STRICTATIME, ATIME),
        (["relatime"], 0, ATIME),
        (["noatime", "strictatime"], STRICTATIME, ATIME),
        (["strictatime", "noatime", "relatime"], 0, ATIME),
        (["nodiratime"], NODIRATIME, 0),
        (["nosymfollow"], NOSYMFOLLOW, 0),
        (["defaults", "nofail", "_netdev"], 0, 0),
    ],
)
def test_flags(options: list[str], on: int, off: int) -> None:
    parsed = MountOptions(options)
    assert (parsed.set, parsed.clear) == (on, off)
    assert (parsed.tree_set, parsed.tree_clear, parsed.data) == (0, 0, [])


@pytest.mark.parametrize(
    ("options", "on", "off"),
    [
        (["rro"], RO, 0),
        (["rrw"], 0, RO),
        (["rro", "rrw"], 0, RO),
        (["rnosuid", "rnodev", "rnoexec"], NOSUID | NODEV | NOEXEC, 0),
        (["rsuid", "rdev", "rexec"], 0, NOSUID | NODEV | NOEXEC),
        (["rnoatime"], NOATIME, ATIME),
        (["rstrictatime"], STRICTATIME, ATIME),
    ],
)
def test_flags_for_the_whole_tree(options: list[str], on: int, off: int) -> None:
    parsed = MountOptions(options)
    assert (parsed.tree_set, parsed.tree_clear, parsed.set, parsed.clear) == (on, off, 0, 0)


@pytest.mark.parametrize(
    ("options", "flag", "recursive"),
    [
        (["rprivate"], sys.MS_PRIVATE, True),
        (["private"], sys.MS_PRIVATE, False),
        (["shared", "rslave"], sys.MS_SLAVE, True),
        (["rshared"], sys.MS_SHARED, True),
        (["unbindable"], sys.MS_UNBINDABLE, False),
        ([], 0, False),
    ],
)
def test_propagation(options: list[str], flag: int, recursive: bool) -> None:
    assert MountOptions(options).propagation == (flag, recursive)


def test_binds() -> None:
    for options, bind, recursive in ((["bind"], True, False), (["rbind", "ro"], True, True), (["ro"], False, False)):
        parsed = MountOptions(options)
        assert (parsed.bind, parsed.recursive) == (bind, recursive)


def test_what_the_file_system_takes_itself_keeps_its_order() -> None:
    parsed = MountOptions(["mode=755", "nosuid", "size=64k", "userxattr", "context=a=b", "empty="])
    assert parsed.data == [("mode", "755"), ("size", "64k"), ("userxattr", None), ("context", "a=b"), ("empty", "")]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
def test_the_kernel_takes_every_pair_of_flags(tmp_path: Path) -> None:
    """On a detached bind mount: no combination is refused."""
    names = [
        *("ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "relatime", "strictatime"),
        *("nodiratime", "diratime", "nosymfollow", "symfollow"),
    ]
    for options in [[name] for name in names] + [list(pair) for pair in itertools.permutations(names, 2)]:
        tree = sys.open_tree(sys.AT_FDCWD, str(tmp_path), sys.OPEN_TREE_CLONE)
        parsed = MountOptions(options)
        try:
            sys.mount_setattr(tree, set_=parsed.set, clear=parsed.clear)
        except OSError as error:
            pytest.fail(f"{options}: {errno.errorcode[error.errno or 0]}")
        finally:
            os.close(tree)
