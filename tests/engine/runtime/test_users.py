"""USER and --user by the container's own passwd and group files, which are hostile."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.runtime import process, users
from dosirak.engine.runtime.users import UnknownUser

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:/bin/sh
daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bob:x:1000:1000:Bob,,,:/home/bob:/bin/sh
1001:x:0:0:a number for a name:/root:/bin/sh
second:x:1000:2000:the same uid:/home/second:/bin/sh

short:x:42
nohome:x:43:43::
"""
GROUP = """\
root:x:0:
wheel:x:10:root,bob
audio:x:29:bob
bob:x:1000:
44:x:0:bob
video:x:45:alice,notbob,bobby
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """The root of an image, with etc/passwd and etc/group."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("spec", "extra", "expected"),
    [
        ("", (), (0, 0, [0, 10], b"/root")),
        ("0", (), (0, 0, [0, 10], b"/root")),
        ("root", (), (0, 0, [0, 10], b"/root")),
        ("bob", (), (1000, 1000, [1000, 10, 29, 0], b"/home/bob")),
        ("1000", (), (1000, 1000, [1000, 10, 29, 0], b"/home/bob")),  # the first with that uid gives the name
        ("second", (), (1000, 2000, [2000], b"/home/second")),
        ("daemon", (), (1, 1, [1], b"/usr/sbin")),
        ("bob:audio", (), (1000, 29, [29], b"/home/bob")),  # a group of one's choice comes alone
        ("bob:7", (), (1000, 7, [7], b"/home/bob")),
        ("5000", (), (5000, 0, [0], b"/")),
        ("5000:6000", (), (5000, 6000, [6000], b"/")),
        (":audio", (), (0, 29, [29], b"/root")),
        ("bob", ("video", "77", "audio"), (1000, 1000, [1000, 10, 29, 0, 45, 77], b"/home/bob")),
        ("2147483647:2147483647", (), (2147483647, 2147483647, [2147483647], b"/")),
        ("nohome", (), (43, 43, [43], b"/")),
    ],
)
def test_dockers_user_grammar(root: int, spec: str, extra: tuple[str, ...], expected: object) -> None:
    assert users.resolve(root, spec, extra) == expected


def test_a_number_is_never_looked_up_as_a_name(root: int) -> None:
    """CVE-2026-46680's cousin: the image has a *user* called "1001" with uid 0, and a group "44" with gid 0."""
    assert users.resolve(root, "1001") == (1001, 0, [0], b"/")
    assert users.resolve(root, "1000:44")[:3] == (1000, 44, [44])
    assert users.resolve(root, "5000", ["44"])[2] == [0, 44]


def test_the_primary_group_is_among_the_supplementary_ones(root: int) -> None:
    """CVE-2022-36109."""
    for spec in ("bob", "bob:audio", "1000", "5000", "5000:6000", "root"):
        _, gid, groups, _ = users.resolve(root, spec)
        assert groups[0] == gid
        assert len(set(groups)) == len(groups)


@pytest.mark.parametrize(
    ("spec", "extra", "message"),
    [
        ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
        ("bob:nogroup", (), "unable to find group nogroup: no matching entries in group file"),
        ("bob", ("nogroup",), "unable to find group nogroup: no matching entries in group file"),
        ("short", (), "unable to find user short: no matching entries in passwd file"),
        ("# comment", (), "unable to find user # comment: no matching entries in passwd file"),
        ("bob ", (), "unable to find user bob : no matching entries in passwd file"),
        ("+1000", (), "unable to find user +1000: no matching entries in passwd file"),
        ("١٢", (), "unable to find user ١٢: no matching entries in passwd file"),
        ("4294967296", (), "uids and gids must be in range 0-2147483647"),
        ("4294967295", (), "uids and gids must be in range 0-2147483647"),
        ("2147483648", (), "uids and gids must be in range 0-2147483647"),
        ("-1", (), "uids and gids must be in range 0-2147483647"),
        ("100000000000000000000", (), "uids and gids must be in range 0-2147483647"),
        ("bob:4294967296", (), "uids and gids must be in range 0-2147483647"),
        ("bob:-1", (), "uids and gids must be in range 0-2147483647"),
        ("bob", ("-1",), "uids and gids must be in range 0-2147483647"),
    ],
)
def test_unknown_and_impossible_users_are_refused(root: int, spec: str, extra: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnknownUser, match=message.replace("+", r"\+")):
        users.resolve(root, spec, extra)


@pytest.mark.parametrize(
    "line",
    [
        "evil:x:4294967296:0::/root:/bin/sh",
        "evil:x:4294967295:0::/root:/bin/sh",
        "evil:x:-1:0::/root:/bin/sh",
        "evil:x:100000000000000000000:0::/root:/bin/sh",
        "evil:x:0x0:0::/root:/bin/sh",
        "evil:x: 0:0::/root:/bin/sh",
        "evil:x::0::/root:/bin/sh",
        "evil:x:0:4294967296::/root:/bin/sh",
        "evil:x:0:-1::/root:/bin/sh",
        "evil:x:٠:0::/root:/bin/sh",
    ],
)
def test_a_line_out_of_range_is_no_line(root: int, tmp_path: Path, line: str) -> None:
    """Docker 20.10 turns the first of these into uid 0."""
    (tmp_path / "etc/passwd").write_text(line + "\n" + PASSWD)
    with pytest.raises(UnknownUser):
        users.resolve(root, "evil")
    assert users.resolve(root, "bob")[0] == 1000


def test_an_early_line_of_that_number_does_not_make_anyone_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").write_text("1000:x:0:0::/root:/bin/sh\n" + PASSWD)
    assert users.resolve(root, "1000")[0] == 1000


def test_a_carriage_return_ends_no_line(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").write_bytes(b"x:x:7:7::/:/bin/sh\rroot2:x:0:0::/root:/bin/sh\n")
    with pytest.raises(UnknownUser):
        users.resolve(root, "root2")


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a" * (3 << 20), id="one line of 3 MB"),
        pytest.param(b"big:x:5:" + b"bob," * (1 << 19) + b"\n", id="a 2 MB group"),
        pytest.param(b"a:b:1:1\n" * (1 << 18), id="a quarter of a million short lines"),
        pytest.param(b"\n" * (3 << 20), id="3 MB of empty lines"),
        pytest.param(b":" * (3 << 20), id="3 MB of colons"),
    ],
)
def test_a_huge_file_costs_little_memory(root: int, tmp_path: Path, name: str, content: bytes) -> None:
    """CVE-2026-47262. In a process of its own, as in a container's start."""
    original = (tmp_path / "etc" / name).read_bytes()
    (tmp_path / "etc" / name).write_bytes(content + b"\n" + original)
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ok = users.resolve(root, "bob")[0] == 1000
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os._exit(0 if ok and grown < 64 << 10 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_file_without_end_is_refused(root: int, tmp_path: Path) -> None:
    with open(tmp_path / "etc/passwd", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnknownUser, match="unable to read /etc/passwd of the container: File too large"):
        users.resolve(root, "bob")


@pytest.mark.parametrize("kind", ["fifo", "null", "directory", "socket"])
def test_what_is_no_file_is_refused_without_waiting(root: int, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "etc/passwd"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "null":
        if os.geteuid() != 0:
            pytest.skip("needs root: mknod")
        os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero: endless
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o140666)
    with pytest.raises(UnknownUser, match="unable to read /etc/passwd of the container: not a regular file"):
        users.resolve(root, "bob")


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_symlink_does_not_lead_to_the_host(root: int, tmp_path: Path, marker: Path, name: str) -> None:
    marker.write_text(f"{marker.read_text()}\nleaked:x:77:77::/:/bin/sh\n")
    secret = marker.read_text()
    for target in (str(marker), f"../../../../../../../..{marker}"):
        (tmp_path / "etc" / name).unlink()
        (tmp_path / "etc" / name).symlink_to(target)
        with pytest.raises(UnknownUser, match="no matching entries"):
            users.resolve(root, "leaked" if name == "passwd" else "0:leaked")
    marker.write_text(secret.split("\n")[0])


def test_a_symlink_inside_the_root_is_followed(root: int, tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "etc/passwd").rename(tmp_path / "usr/passwd")
    (tmp_path / "etc/passwd").symlink_to("/usr/passwd")
    assert users.resolve(root, "bob")[0] == 1000


def test_an_image_without_the_files_knows_numbers(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    assert users.resolve(fd, "12:13") == (12, 13, [13], b"/")
    assert users.resolve(fd, "") == (0, 0, [0], b"/")
    with pytest.raises(UnknownUser):
        users.resolve(fd, "root")
    os.close(fd)


def test_numbers_of_the_document_are_taken_as_they_stand(root: int) -> None:
    identity = process.identify({"user": {"uid": 1000, "gid": 7, "additionalGids": [8, 9]}}, [], root)
    assert (identity.uid, identity.gid, identity.groups, identity.home) == (1000, 7, [8, 9], b"/home/bob")


def test_further_groups_come_on_top(root: int) -> None:
    identity = process.identify({"user": {"username": "bob", "additionalGids": [8]}}, ["audio", "99"], root)
    assert identity.groups == [1000, 10, 29, 0, 99, 8]
