"""Whatever an archive holds: nothing outside the root changes, and the root is what a model says."""

from __future__ import annotations

import shutil
import tarfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.removal import remove_tree
from support.tars import member, tar

from .conftest import Place
from .model import Model, Refused, picture_of

PLAIN = ["a", "b", "..", "."]
MARKS = [".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh...", ".wh..wh.aufs"]

paths = st.lists(st.sampled_from([*PLAIN, "a", "b", "a", "b", *MARKS]), min_size=1, max_size=4).map("/".join)
names = st.one_of(paths, paths.map(lambda path: f"/{path}"), paths.map(lambda path: f"{path}/"))
targets = st.one_of(
    names, st.sampled_from(["/", "..", "../../marker", "/host/marker", "../../../../../../../../marker", "a/../.."])
)
kinds = st.sampled_from(["file", "dir", "dir", "symlink", "symlink", "link", "fifo"])
entries = st.lists(st.tuples(names, kinds, targets), max_size=8)

# tarfile strips what the test is about: names are put in after it has been given others.
steps = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def archive(content: list[tuple[str, str, str]]) -> bytes:
    made = []
    for number, (name, kind, target) in enumerate(content):
        made.append(member(name, kind, _value(number, kind, target)))
    return tar(made, tarfile.GNU_FORMAT)


def check(place: Place, content: list[tuple[str, str, str]], *, whiteouts: bool) -> None:
    shutil.rmtree(place.root)
    place.root.mkdir()
    before = place.outside()
    model = Model(as_layer=whiteouts)
    expected = None
    try:
        for number, (name, kind, target) in enumerate(content):
            model.take(name, kind, _value(number, kind, target))
        expected = model.picture()
    except Refused:
        pass
    try:
        place.extract(archive(content), whiteouts=whiteouts)
        found = picture_of(place.root)
    except CorruptArchive:
        found = None
    assert place.outside() == before
    assert found == expected


def _value(number: int, kind: str, target: str) -> str:
    """What the entry is to contain or to lead to."""
    if kind in ("symlink", "link"):
        return target
    return str(number) if kind == "file" else ""


@steps
@given(entries)
@example([("a", "symlink", "/"), ("a/b", "file", "")])
@example([("a", "symlink", ".."), ("a/b", "file", "")])
@example([("a", "symlink", "../.."), ("a/marker", "file", "")])
@example([("a", "symlink", "../../marker"), ("a", "file", "")])
@example([("a", "link", "../../marker")])
@example([("a", "symlink", "b"), ("a/b", "file", "")])
@example([(".wh.a", "file", ""), ("a", "dir", "")])
@example([("a", "dir", ""), (".wh.a", "file", "")])
@example([(".wh.a", "file", ""), ("a/b", "file", "")])
@example([("a", "dir", ""), ("a/b", "file", ""), ("a", "file", ""), ("b", "link", "a")])
@example([("a", "dir", ""), ("b", "symlink", "a"), ("b/a", "file", ""), ("b", "dir", ""), ("b/a", "dir", "")])
@example([("a", "symlink", "a"), ("a/b", "file", "")])
@example([("a/b", "dir", ""), ("a/b", "symlink", "b")])
@example([("a", "file", ""), ("b", "link", "a"), ("a", "link", "b")])
@example([("a/a", "dir", ""), ("b", "symlink", "a"), ("b/b", "file", ""), ("b", "symlink", "a/a"), ("b/b", "file", "")])
@example([("a/b", "file", ""), ("a", "file", ""), ("b/b", "file", ""), ("a", "symlink", "b"), ("a/a", "file", "")])
def test_a_layer_stays_in_its_root_and_is_what_the_model_says(place: Place, content: list) -> None:
    check(place, content, whiteouts=True)


@steps
@given(entries)
@example([(".wh.a", "file", ""), ("a", "file", "")])
def test_any_other_archive_too_and_its_names_mean_nothing(place: Place, content: list) -> None:
    check(place, content, whiteouts=False)


@pytest.mark.parametrize("depth", [10, 1500])
def test_a_deep_path_is_made_or_refused(place: Place, depth: int) -> None:
    place.extract(tar([member("a/" * depth + "f", "file", "x")]))
    (place.root / ("a/" * depth) / "f").lstat()
    # No rmtree of Python's gets that deep.
    remove_tree(place.root / "a")
    with pytest.raises(CorruptArchive, match="file name too long"):
        place.extract(tar([member("a/" * 3000 + "f", "file", "x")]))
