"""What layers do to the files below them."""

from __future__ import annotations

import os
from pathlib import Path

from dosirak.engine.images.anatomy import read, where
from dosirak.engine.layers import whiteouts

KB = b"x" * 1000


def layer(base: Path, files: dict[str, bytes], gone: tuple[str, ...] = (), opaque: tuple[str, ...] = ()) -> Path:
    base.mkdir()
    for name, content in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    for name in gone:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        fd = os.open((base / name).parent, os.O_RDONLY)
        whiteouts.make_whiteout(fd, os.fsencode((base / name).name))
        os.close(fd)
    for name in opaque:
        (base / name).mkdir(parents=True, exist_ok=True)
        fd = os.open(base / name, os.O_RDONLY)
        whiteouts.make_opaque(fd)
        os.close(fd)
    return base


def changes(found, number: int) -> list[tuple[str, str]]:
    return [(change.kind, change.path.decode()) for change in found[number].changes]


def test_added_changed_and_deleted_files_are_told_apart_and_waste_is_counted(tmp_path: Path) -> None:
    found = read(
        [
            layer(tmp_path / "0", {"etc/a": KB, "etc/b": KB, "d/1": KB, "d/2": KB}),
            layer(tmp_path / "1", {"etc/a": KB * 2, "new": KB}, gone=("etc/b",)),
            layer(tmp_path / "2", {}, gone=("d",)),
        ]
    )
    assert changes(found, 1) == [("C", "etc"), ("A", "new"), ("C", "etc/a"), ("D", "etc/b")]
    assert changes(found, 2) == [("D", "d")]
    assert [(one.size, one.hidden) for one in found] == [(4000, 4000), (3000, 0), (0, 0)]
    assert [found[1].count(kind) for kind in "ACD"] == [1, 1, 1]


def test_an_opaque_directory_hides_what_was_in_it(tmp_path: Path) -> None:
    found = read([layer(tmp_path / "0", {"d/1": KB, "d/2": KB}), layer(tmp_path / "1", {"d/3": KB}, opaque=("d",))])
    assert changes(found, 1) == [("D", "d"), ("C", "d"), ("A", "d/3")]
    assert [one.hidden for one in found] == [2000, 0]


def test_which_layer_a_path_comes_from(tmp_path: Path) -> None:
    found = read(
        [
            layer(tmp_path / "0", {"d/1": KB}),
            layer(tmp_path / "1", {"d/1": KB * 3}),
            layer(tmp_path / "2", {}, gone=("d",)),
        ]
    )
    told = [(number, change.kind, change.size) for number, change in where(found, "/d/1")]
    assert told == [(0, "A", 1000), (1, "C", 3000), (2, "D", 3000)]
    assert where(found, "/nowhere") == []


def test_further_names_of_a_file_take_no_room_and_links_lead_nowhere(tmp_path: Path) -> None:
    base = layer(tmp_path / "0", {"a": KB})
    os.link(base / "a", base / "b")
    (base / "out").symlink_to("/etc")
    found = read([base, layer(tmp_path / "1", {"out/passwd": KB})])
    assert found[0].size == 1000
    assert changes(found, 1) == [("C", "out"), ("A", "out/passwd")]
