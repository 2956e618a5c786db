"""Compiled filters on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dosirak.engine.runtime.seccomp import Filters, ProfileError, compiler, profile

DOCUMENT = b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO"}]}'


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 16, 0)


def test_a_filter_is_compiled_once_and_found_by_later_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Filters(tmp_path / "seccomp").load(DOCUMENT)
    assert len(list((tmp_path / "seccomp").iterdir())) == 1

    def not_again(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "compile_document", not_again)
    second = Filters(tmp_path / "seccomp").load(DOCUMENT)
    assert content(first.fileno()) == content(second.fileno())
    assert first.document == DOCUMENT


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_file_that_is_not_whole_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    store = Filters(tmp_path)
    program = store.find(DOCUMENT)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert store.find(DOCUMENT) == program
    assert len(path.read_bytes()) == len(program) + 32


def test_a_directory_that_can_not_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Filters(tmp_path / "file" / "below").find(DOCUMENT)


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    store = Filters(tmp_path)
    for number in range(70):
        store.find(DOCUMENT.replace(b"SCMP_ACT_ERRNO", b'SCMP_ACT_ERRNO","errnoRet":%d,"x":"' % (number + 1)))
    assert len(list(tmp_path.iterdir())) == 64


def test_containers_that_differ_in_what_no_rule_asks_for_share_a_program(tmp_path: Path) -> None:
    store = Filters(tmp_path)
    store.compile(profile.default(), frozenset({"CAP_CHOWN"}))
    store.compile(profile.default(), frozenset({"CAP_FOWNER"}))
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unusable_document_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProfileError):
        Filters(tmp_path).load(b'{"defaultAction":"SCMP_ACT_X"}')
    assert list(tmp_path.iterdir()) == []
