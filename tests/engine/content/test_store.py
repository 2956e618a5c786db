"""The blobs of the content store."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.content import Store, media_types
from dosirak.engine.content.digests import digest_of, hex_part
from dosirak.engine.content.disk import host_limits
from dosirak.engine.errors import HostLimit, InvalidRequest, NotFound

HELLO = "sha256:" + hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "content")


def leftovers(store: Store) -> list[str]:
    return os.listdir(store.root / "tmp")


def test_a_committed_blob_is_there_under_its_digest(store: Store) -> None:
    with store.writer() as blob:
        blob.write(b"hel")
        assert not store.has(HELLO)
        blob.write(memoryview(b"lo"))
        made = blob.commit(media_types.LAYER)
    assert (made.media_type, made.digest, made.size) == (media_types.LAYER, HELLO, 5)
    assert store.has(HELLO)
    assert store.open(HELLO).read() == b"hello"
    assert store.size(HELLO) == 5
    assert leftovers(store) == []


def test_without_commit_nothing_stays(store: Store) -> None:
    with store.writer() as blob:
        blob.write(b"hello")
    assert not store.has(HELLO)
    assert leftovers(store) == []
    with pytest.raises(RuntimeError), store.writer() as blob:
        blob.write(b"hello")
        raise RuntimeError
    assert leftovers(store) == []


@pytest.mark.parametrize("promise", [{"digest": "sha256:" + "0" * 64}, {"size": 4}])
def test_a_blob_that_is_not_what_was_promised_is_refused_and_gone(store: Store, promise: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="mismatch"), store.writer() as blob:
        blob.write(b"hello")
        blob.commit(media_types.LAYER, **promise)  # type: ignore[arg-type]
    assert not store.has(HELLO)
    assert leftovers(store) == []


def test_the_same_bytes_are_stored_once(store: Store) -> None:
    first = store.put(b"hello", media_types.CONFIG)
    inode = store.path(HELLO).stat().st_ino
    assert store.put(b"hello", media_types.CONFIG) == first
    assert store.path(HELLO).stat().st_ino == inode


def test_reading_checks_the_bytes(store: Store) -> None:
    store.put(b"hello", media_types.CONFIG)
    assert store.read(HELLO, 5) == b"hello"
    with pytest.raises(InvalidRequest, match="larger than 4 bytes"):
        store.read(HELLO, 4)
    store.path(HELLO).write_bytes(b"hellO")
    with pytest.raises(InvalidRequest, match="damaged"):
        store.read(HELLO, 5)


def test_a_missing_blob_is_not_found(store: Store) -> None:
    for ask in (store.open, store.size):
        with pytest.raises(NotFound, match=HELLO):
            ask(HELLO)
    store.delete(HELLO)


def test_collect_keeps_what_is_reachable(store: Store) -> None:
    kept, lost = (store.put(data, media_types.CONFIG).digest for data in (b"a", b"b"))
    assert store.collect({kept}) == [lost]
    assert [*store.digests()] == [kept]


def test_sweep_removes_what_a_killed_writer_left(store: Store) -> None:
    (store.root / "tmp" / "half").write_bytes(b"x")
    store.put(b"hello", media_types.CONFIG)
    store.sweep()
    assert leftovers(store) == []
    assert store.has(HELLO)


def test_the_store_is_closed_to_other_users(store: Store) -> None:
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_a_full_disk_is_one_clear_error(store: Store) -> None:
    with pytest.raises(HostLimit, match="writing a blob: no space left on device"), host_limits("writing a blob"):
        raise OSError(errno.ENOSPC, "x")
    with pytest.raises(IsADirectoryError), host_limits("writing a blob"):
        raise IsADirectoryError(errno.EISDIR, "x")


BAD_DIGESTS = [
    "",
    "sha256:",
    "sha256:" + "0" * 63,
    "sha256:" + "0" * 65,
    "sha256:" + "A" * 64,
    "sha512:" + "0" * 128,
    "sha256:" + "0" * 64 + "\n",
    "\nsha256:" + "0" * 64,
    "sha256:../../../../../../etc/passwd",
    "sha256:" + "/" * 64,
    "sha256:" + "０" * 64,
]


@pytest.mark.parametrize("text", BAD_DIGESTS)
def test_what_is_no_digest_never_becomes_a_path(store: Store, text: str) -> None:
    for ask in (store.path, store.has, store.open, store.delete, hex_part):
        with pytest.raises(InvalidRequest, match="invalid digest"):
            ask(text)


@given(st.text())
def test_whatever_is_taken_for_a_digest_is_64_hex_digits(text: str) -> None:
    try:
        digits = hex_part(text)
    except InvalidRequest:
        return
    assert len(digits) == 64
    assert set(digits) <= set("0123456789abcdef")


@given(st.binary(max_size=200))
def test_the_digest_of_anything_is_one(data: bytes) -> None:
    assert hex_part(digest_of(data)) == hashlib.sha256(data).hexdigest()
