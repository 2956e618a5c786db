"""Selecting files: what paths, wildcards and ignore rules choose, what the checksum sees, and hostile trees."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from dosirak.engine.build.digests import Digests
from dosirak.engine.build.entries import Source
from dosirak.engine.build.files import Selection, select
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.threads import Stop, Stopped
from dosirak.engine.errors import InvalidRequest, NotFound
from dosirak.engine.layers.removal import remove_tree


@contextmanager
def opened(root: Path, ignore: Sequence[str] = (), context: bool = True) -> Iterator[Source]:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Source(fd, Ignore(ignore), context)
    finally:
        os.close(fd)


def chosen(
    root: Path, *paths: str, ignore: Sequence[str] = (), excludes: Sequence[str] = (), parents: bool = False
) -> Selection:
    with opened(root, ignore) as source:
        return select(source, paths, Digests(), Stop(), parents=parents, excludes=Ignore(excludes))


def listing(selection: Selection) -> list[str]:
    lines = []
    for tree in selection.trees:
        above = "".join(f"[{entry.path}]" for entry in tree.above)
        if tree.top is not None:
            lines.append(f"{above}{tree.name}")
        else:
            lines += [f"{above}{entry.path}" for entry in tree.entries]
    return lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt", "d/x.py", "d/y.pyc", "d/sub/z.py", "d/sub/deep/q", "e/a.txt"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "root"


def test_file_directory_and_root_are_chosen(root: Path) -> None:
    assert listing(chosen(root, "a.txt", "/e/a.txt")) == ["a.txt", "a.txt"]
    assert listing(chosen(root, "d")) == ["sub", "x.py", "y.pyc", "sub/deep", "sub/z.py", "sub/deep/q"]
    assert listing(chosen(root, ".")) == listing(chosen(root, "/")) == listing(chosen(root, "../.."))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[b-z].txt", ["b.txt"]),
        ("*/a.txt", ["a.txt"]),
        ("d/*.py*", ["x.py", "y.pyc"]),
        ("d/s*", ["z.py", "deep", "deep/q"]),
        ("nothing*", []),
        ("nowhere/*", []),
        ("**/z.py", []),
        ("*/*/z.py", ["z.py"]),
        ("a\\.txt*", ["a.txt"]),
    ],
)
def test_wildcards_choose_in_order(root: Path, pattern: str, expected: list[str]) -> None:
    assert sorted(listing(chosen(root, pattern))) == sorted(expected)


@pytest.mark.parametrize("path", ["nope", "a.txt/x", "d/nope", "dangling", "loop"])
def test_missing_path_is_told_as_docker_tells_it(root: Path, path: str) -> None:
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    with pytest.raises((NotFound, OSError)) as caught:
        chosen(root, path)
    if path != "loop":
        expected = f"file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
        assert str(caught.value) == expected


def test_ignored_files_are_as_if_missing(root: Path) -> None:
    with pytest.raises(NotFound):
        chosen(root, "a.txt", ignore=["*.txt"])
    with pytest.raises(NotFound):
        chosen(root, "d", ignore=["d"])
    assert listing(chosen(root, "*.txt", ignore=["a*"])) == ["b.txt"]
    assert "x.py" not in listing(chosen(root, "d", ignore=["**/*.py"]))


def test_file_taken_back_in_brings_its_directories(root: Path) -> None:
    assert listing(chosen(root, ".", ignore=["*", "!d/sub/deep/q"])) == ["d", "d/sub", "d/sub/deep", "d/sub/deep/q"]
    assert listing(chosen(root, "d", ignore=["**", "!**/*.py"])) == ["x.py", "sub", "sub/z.py"]


def test_exclude_patterns_are_relative_to_the_source(root: Path) -> None:
    assert listing(chosen(root, "d", excludes=["sub", "*.pyc"])) == ["x.py"]
    assert listing(chosen(root, "*.txt", excludes=["b*"])) == ["a.txt"]


def test_parents_keep_the_path_or_what_follows_the_pivot(root: Path) -> None:
    assert listing(chosen(root, "e/a.txt", "d/sub", parents=True))[0] == "[e]a.txt"
    assert listing(chosen(root, "d/./sub/deep/q", parents=True)) == ["[sub][sub/deep]q"]
    assert "[d][d/sub]z.py" in listing(chosen(root, "d/sub", parents=True))


def test_link_named_as_source_is_followed_inside_the_root_only(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (root / "in").symlink_to("/a.txt")
    (root / "out").symlink_to("../outside")
    (root / "absolute").symlink_to(tmp_path / "outside")
    (root / "dir").symlink_to("d/sub")
    assert chosen(root, "in").checksum != ""
    assert "z.py" in listing(chosen(root, "dir"))
    for name in ("out", "absolute"):
        with pytest.raises(NotFound):
            chosen(root, name)


def test_link_to_an_ignored_file_is_as_if_missing(root: Path) -> None:
    (root / "link").symlink_to("d/x.py")
    with pytest.raises(NotFound):
        chosen(root, "link", ignore=["d"])


def test_links_below_a_directory_are_not_followed(root: Path) -> None:
    (root / "d/out").symlink_to("/etc")
    entries = {entry.path: entry for entry in chosen(root, "d").trees[0].entries}
    assert entries["out"].target == "/etc"
    assert not any(path.startswith("out/") for path in entries)


def test_checksum_sees_content_mode_name_and_link_but_no_time(root: Path) -> None:
    sums = [chosen(root, "d").checksum]
    os.utime(root / "d/x.py", (1, 1))
    os.utime(root / "d", (2, 2))
    assert chosen(root, "d").checksum == sums[0]
    (root / "d/x.py").write_text("changed")
    sums.append(chosen(root, "d").checksum)
    (root / "d/x.py").chmod(0o700)
    sums.append(chosen(root, "d").checksum)
    (root / "d/x.py").rename(root / "d/w.py")
    sums.append(chosen(root, "d").checksum)
    (root / "d/link").symlink_to("a")
    sums.append(chosen(root, "d").checksum)
    (root / "d/link").unlink()
    (root / "d/link").symlink_to("b")
    sums.append(chosen(root, "d").checksum)
    (root / "d/empty").mkdir()
    sums.append(chosen(root, "d").checksum)
    os.setxattr(root / "d/w.py", "user.note", b"x")
    sums.append(chosen(root, "d").checksum)
    assert len(set(sums)) == len(sums)


def test_owner_counts_in_a_file_system_but_not_in_a_context(root: Path) -> None:
    def checksum(context: bool) -> str:
        with opened(root, context=context) as source:
            return select(source, ["d"], Digests(), Stop(), excludes=Ignore()).checksum

    before = checksum(True), checksum(False)
    os.chown(root / "d/x.py", 1000, 1000)
    assert checksum(True) == before[0]
    assert checksum(False) != before[1]


def test_unchanged_files_are_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    digests = Digests()
    monkeypatch.setattr("dosirak.engine.build.digests._SETTLED_NS", -1)
    with opened(root) as source:
        first = select(source, ["/"], digests, Stop(), excludes=Ignore())
        monkeypatch.setattr(Digests, "read", None)
        assert select(source, ["/"], digests, Stop(), excludes=Ignore()).checksum == first.checksum


def test_file_changed_just_now_is_read_again(root: Path) -> None:
    digests = Digests()
    with opened(root) as source:
        first = select(source, ["a.txt"], digests, Stop(), excludes=Ignore())
        assert digests.known((root / "a.txt").stat()) is None
        (root / "a.txt").write_text("A.TXT")
        assert select(source, ["a.txt"], digests, Stop(), excludes=Ignore()).checksum != first.checksum


def test_whiteout_device_is_refused(root: Path) -> None:
    os.mknod(root / "d/wh", 0o020600, 0)
    with pytest.raises(InvalidRequest, match="character device 0:0"):
        chosen(root, "d")


def test_fifo_is_chosen_without_being_opened(root: Path) -> None:
    os.mkfifo(root / "d/fifo")
    assert "fifo" in listing(chosen(root, "d"))


def test_tree_deeper_than_any_descriptor_limit_is_walked(root: Path) -> None:
    deep = root / "deep"
    deep.mkdir()
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=fd)
        inner = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    try:
        assert len(listing(chosen(root, "deep"))) == 1500
    finally:
        remove_tree(deep)


def test_stopped_selection_ends_at_once(root: Path) -> None:
    stop = Stop()
    stop.set()
    with opened(root) as source, pytest.raises(Stopped):
        select(source, ["/"], Digests(), stop, excludes=Ignore())
