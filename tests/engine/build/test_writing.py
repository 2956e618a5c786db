"""COPY, ADD and WORKDIR into a real overlay: what ends in the upper directory, and what can't be led astray."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dosirak.engine.build.copying import copy_files, is_archive, make_directory, select_files
from dosirak.engine.build.digests import Digests
from dosirak.engine.build.entries import Source
from dosirak.engine.build.graph import Base, Context, CopyFiles, MakeDirectory
from dosirak.engine.build.threads import Stop
from dosirak.engine.build.workspace import Workspace
from dosirak.engine.errors import InvalidRequest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts overlays")


class Case:
    """A context and a root to copy into; `copy` and `workdir` do a step and return its upper directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.context = place / "context"
        self.lower = place / "lower"
        self.context.mkdir()
        self.lower.mkdir(mode=0o755)
        self._steps = 0

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        self._steps += 1
        yield Workspace(self.place / f"step{self._steps}", [os.fspath(self.lower)])

    def copy(self, *words: str, context: bool = True, **options: object) -> Path:
        *paths, destination = words
        kind = "ADD" if options.get("unpack") else "COPY"
        vertex = CopyFiles(Base(""), Context(), tuple(paths), (), destination, kind, **options)  # type: ignore[arg-type]
        fd = os.open(self.context, os.O_RDONLY | os.O_DIRECTORY)
        try:
            source = Source(fd, context=context)
            with self.workspace() as workspace:
                copy_files(vertex, select_files(vertex, source, Digests(), Stop()), source, workspace, Stop())
                return workspace.upper
        finally:
            os.close(fd)

    def workdir(self, path: str, user: str = "") -> Workspace:
        with self.workspace() as workspace:
            make_directory(MakeDirectory(Base(""), path, user), workspace, Stop())
            return workspace


@pytest.fixture
def case(tmp_path: Path) -> Case:
    made = Case(tmp_path)
    for name in ("a", "b", "d/x", "d/sub/y"):
        path = made.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (made.lower / "etc").mkdir()
    (made.lower / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/home:/bin/sh\n")
    (made.lower / "etc/group").write_text("root:x:0:\nmine:x:1002:\n")
    return made


def files(upper: Path) -> list[str]:
    """What is in a directory, leaving out what was copied up only to be looked at."""
    return sorted(str(path.relative_to(upper)) for path in upper.rglob("*"))


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_file_goes_to_a_name_or_into_a_directory(case: Case) -> None:
    (case.lower / "dir").mkdir()
    assert files(case.copy("a", "/new")) == ["new"]
    assert files(case.copy("a", "/dir")) == ["dir", "dir/a"]
    assert files(case.copy("a", "/p/q/")) == ["p", "p/q", "p/q/a"]
    assert files(case.copy("a", "/p/q/r")) == ["p", "p/q", "p/q/r"]


def test_directory_gives_its_contents_not_itself(case: Case) -> None:
    assert files(case.copy("d", "/app")) == ["app", "app/sub", "app/sub/y", "app/x"]
    assert files(case.copy("d", "/")) == ["sub", "sub/y", "x"]
    assert files(case.copy("d", "a", "/app/")) == ["app", "app/a", "app/sub", "app/sub/y", "app/x"]


def test_context_becomes_roots_and_keeps_modes_and_times(case: Case) -> None:
    os.chown(case.context / "d/x", 1000, 1000)
    (case.context / "d/x").chmod(0o4751)
    os.chown(case.context / "d/sub", 1000, 1000)
    (case.context / "d/sub").chmod(0o2750)
    os.utime(case.context / "d/x", ns=(5, 1_234_567_890_123_456_789))
    os.utime(case.context / "d/sub", ns=(5, 1_000_000_000_000_000_001))
    upper = case.copy("d", "/app")
    assert (owner(upper / "app/x"), mode(upper / "app/x")) == ((0, 0), 0o4751)
    assert (owner(upper / "app/sub"), mode(upper / "app/sub")) == ((0, 0), 0o2750)
    assert (upper / "app/x").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (upper / "app/sub").stat().st_mtime_ns == 1_000_000_000_000_000_001
    assert (owner(upper / "app"), mode(upper / "app")) == ((0, 0), 0o755)


def test_file_system_keeps_its_owners(case: Case) -> None:
    os.chown(case.context / "d/x", 1000, 7)
    assert owner(case.copy("d", "/app", context=False) / "app/x") == (1000, 7)


@pytest.mark.parametrize(
    ("chown", "expected"),
    [
        ("me", (1000, 1001)),
        ("me:mine", (1000, 1002)),
        ("1000", (1000, 1000)),
        ("55:66", (55, 66)),
        ("0:mine", (0, 1002)),
        (":mine", (0, 1002)),
    ],
)
def test_chown_by_the_targets_own_files(case: Case, chown: str, expected: tuple[int, int]) -> None:
    upper = case.copy("d", "/p/app/", chown=chown)
    assert {owner(upper / name) for name in files(upper)} == {expected}


@pytest.mark.parametrize("chown", ["nobody", "me:nogroup", "-1", "2147483648", "99999999999999999999", "a:b:c", ":"])
def test_wrong_chown_is_refused(case: Case, chown: str) -> None:
    with pytest.raises(InvalidRequest):
        case.copy("a", "/x", chown=chown)


def test_chmod_applies_to_all_but_links(case: Case) -> None:
    (case.context / "d/link").symlink_to("x")
    upper = case.copy("d", "/app/", chmod="0751")
    assert {mode(upper / name) for name in files(upper) if "link" not in name} == {0o751}


def test_existing_directory_is_merged_and_keeps_its_mode_at_the_top_only(case: Case) -> None:
    (case.lower / "app/sub").mkdir(parents=True)
    (case.lower / "app").chmod(0o700)
    (case.lower / "app/sub").chmod(0o700)
    os.chown(case.lower / "app", 5, 5)
    (case.lower / "app/old").write_text("old")
    upper = case.copy("d", "/app")
    assert (mode(upper / "app"), owner(upper / "app")) == (0o700, (5, 5))
    assert (mode(upper / "app/sub"), owner(upper / "app/sub")) == (0o755, (0, 0))
    assert files(upper) == ["app", "app/sub", "app/sub/y", "app/x"]


def test_existing_file_and_link_are_replaced_not_written_through(case: Case) -> None:
    (case.lower / "app").mkdir()
    (case.lower / "keep").write_text("keep")
    (case.lower / "app/x").symlink_to("/keep")
    upper = case.copy("d", "/app")
    assert (upper / "app/x").read_text() == "d/x" and not (upper / "app/x").is_symlink()
    assert not (upper / "keep").exists()


def test_destination_that_is_a_link_leads_inside_the_root(case: Case, tmp_path: Path) -> None:
    (case.lower / "out").symlink_to(tmp_path / "host")
    (case.lower / "up").symlink_to("../../../../real")
    (case.lower / "chain").symlink_to("up")
    assert files(case.copy("d", "/chain/")) == ["real", "real/sub", "real/sub/y", "real/x"]
    upper = case.copy("a", "/out/f")
    assert not (tmp_path / "host").exists()
    assert [name for name in files(upper) if name.endswith("host/f")]


def test_file_onto_a_link_replaces_what_it_points_at(case: Case) -> None:
    (case.lower / "real").write_text("old")
    (case.lower / "link").symlink_to("real")
    upper = case.copy("a", "/link")
    assert (upper / "real").read_text() == "a"
    assert files(upper) == ["real"]


def test_endless_links_are_an_error(case: Case) -> None:
    (case.lower / "l").symlink_to("l")
    for destination in ("/l", "/l/", "/l/x"):
        with pytest.raises((InvalidRequest, OSError)):
            case.copy("a", destination)


@pytest.mark.parametrize(
    ("source", "destination", "problem"),
    [
        ("a", "/etc/passwd/x", "mkdir /etc/passwd: not a directory"),
        ("d", "/etc/passwd", "mkdir /etc/passwd: not a directory"),
        ("d", "/clash", "cannot copy to non-directory: sub"),
        ("a", "/clash2/", "cannot replace to directory a with file"),
    ],
)
def test_file_and_directory_do_not_replace_each_other(case: Case, source: str, destination: str, problem: str) -> None:
    (case.lower / "clash").mkdir()
    (case.lower / "clash/sub").write_text("")
    (case.lower / "clash2/a").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match=problem):
        case.copy(source, destination)


def test_hard_links_links_fifos_and_attributes_are_copied_as_they_are(case: Case) -> None:
    d = case.context / "d"
    os.link(d / "x", d / "sub/hard")
    (d / "link").symlink_to("/no/where")
    os.mkfifo(d / "fifo", 0o640)
    os.setxattr(d / "x", "user.note", b"kept")
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    os.setxattr(d / "sub/y", "security.capability", capability)
    upper = case.copy("d", "/app")
    assert (upper / "app/x").stat().st_ino == (upper / "app/sub/hard").stat().st_ino
    assert os.readlink(upper / "app/link") == "/no/where"
    assert stat.S_ISFIFO((upper / "app/fifo").stat().st_mode) and mode(upper / "app/fifo") == 0o640
    assert os.getxattr(upper / "app/x", "user.note") == b"kept"
    assert os.getxattr(upper / "app/sub/y", "security.capability") == capability


def test_large_file_arrives_whole(case: Case) -> None:
    content = os.urandom(3_000_001)
    (case.context / "big").write_bytes(content)
    assert (case.copy("big", "/big") / "big").read_bytes() == content


def test_file_that_changes_between_digest_and_copy_is_told(case: Case) -> None:
    vertex = CopyFiles(Base(""), Context(), ("a",), (), "/a", "COPY")
    fd = os.open(case.context, os.O_RDONLY | os.O_DIRECTORY)
    try:
        source = Source(fd, context=True)
        selection = select_files(vertex, source, Digests(), Stop())
        (case.context / "a").write_text("z")
        with case.workspace() as workspace, pytest.raises(InvalidRequest, match="changed while it was being copied"):
            copy_files(vertex, selection, source, workspace, Stop())
    finally:
        os.close(fd)


def test_documents_become_files(case: Case) -> None:
    with case.workspace() as workspace:
        vertex = CopyFiles(Base(""), Context(), (), (("one", "1\n"), ("two", "2\n")), "/docs/", "COPY", chown="me")
        copy_files(vertex, _nothing(), Source(-1), workspace, Stop())
        upper = workspace.upper
    assert {name: (upper / "docs" / name).read_text() for name in ("one", "two")} == {"one": "1\n", "two": "2\n"}
    assert (owner(upper / "docs/one"), mode(upper / "docs/one")) == ((1000, 1001), 0o644)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "."])
def test_document_with_a_path_for_a_name_is_refused(case: Case, name: str) -> None:
    with case.workspace() as workspace, pytest.raises(InvalidRequest, match="can't be a path"):
        copy_files(
            CopyFiles(Base(""), Context(), (), ((name, ""),), "/d/", "COPY"), _nothing(), Source(-1), workspace, Stop()
        )


def test_parents_bring_their_modes(case: Case) -> None:
    (case.context / "d").chmod(0o711)
    upper = case.copy("d/sub/y", "/p/", parents=True)
    assert files(upper) == ["p", "p/d", "p/d/sub", "p/d/sub/y"]
    assert mode(upper / "p/d") == 0o711


# -- ADD


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_local_archive_is_unpacked_into_the_destination(case: Case, compression: str) -> None:
    _write_tar(case.context / "t.tar", compression)
    assert files(case.copy("t.tar", "/app", unpack=True)) == ["app", "app/in", "app/in/f"]
    assert files(case.copy("t.tar", "/app")) == ["app"]


def test_unpacked_files_get_the_owner_and_mode_asked_for(case: Case) -> None:
    _write_tar(case.context / "t.tar", "gz")
    upper = case.copy("t.tar", "/app", unpack=True, chown="me", chmod="0750")
    assert {(owner(upper / name), mode(upper / name)) for name in files(upper)} == {((1000, 1001), 0o750)}


def test_what_only_looks_like_an_archive_is_copied(case: Case) -> None:
    (case.context / "x.tar.gz").write_bytes(b"\x1f\x8b\x08 not really")
    (case.context / "y.tar").write_bytes(bytes(10240))
    assert files(case.copy("x.tar.gz", "y.tar", "a", "/app/", unpack=True)) == [
        "app",
        "app/a",
        "app/x.tar.gz",
        "app/y.tar",
    ]


def test_archive_is_known_by_its_first_block() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    good = buffer.getvalue()
    assert is_archive(io.BytesIO(good))
    for bad in (b"", b"x", good[:511], bytes(512), b"\0" + good[1:], b"BZh9" + b"x" * 600):
        assert not is_archive(io.BytesIO(bad))


# -- WORKDIR


def test_workdir_makes_what_is_missing_and_only_that(case: Case) -> None:
    workspace = case.workdir("/etc/new/dir", "me")
    assert files(workspace.upper) == ["etc", "etc/new", "etc/new/dir"]
    assert [owner(workspace.upper / name) for name in ("etc", "etc/new", "etc/new/dir")] == [
        (0, 0),
        (1000, 1001),
        (1000, 1001),
    ]
    assert case.workdir("/etc").unchanged


def test_upper_directory_of_a_step_has_the_roots_mode(case: Case) -> None:
    case.lower.chmod(0o1750)
    os.chown(case.lower, 3, 4)
    workspace = case.workdir("/etc")
    assert (mode(workspace.upper), owner(workspace.upper)) == (0o1750, (3, 4))


def _nothing() -> object:
    from dosirak.engine.build.files import Selection

    return Selection([], "")


def _write_tar(path: Path, compression: str) -> None:
    opener: Callable[..., tarfile.TarFile] = tarfile.open
    with opener(path, f"w:{compression}") as archive:
        info = tarfile.TarInfo("in/f")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
