"""Reading tars: what `tarfile` and GNU tar write, and what nobody should."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosirak.engine.layers import tarread
from dosirak.engine.layers.errors import CorruptArchive
from dosirak.engine.layers.tarread import Entry, TarReader
from dosirak.engine.layers.tarwrite import header
from support.tars import KINDS, member, tar


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(data))
    return [(entry, b"".join(reader.data())) for entry in reader]


FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

names = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=300)


@given(
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.lists(
        st.tuples(
            names,
            st.sampled_from([*KINDS]),
            st.binary(max_size=1100),
            st.integers(0, 0o7777),
            st.integers(0, 2**31),
            st.integers(0, 2**33),
        ),
        max_size=5,
    ),
)
def test_what_tarfile_writes_is_read_as_it_was(format: int, entries: list[tuple]) -> None:
    made = []
    for name, kind, content, mode, owner, time in entries:
        target = "t/" * 40 if kind == "symlink" else "target" if kind == "link" else content
        made.append(member(name, kind, target, mode=mode, uid=owner, gid=owner + 1, mtime=time))
    found = read(tar(made, format))
    assert len(found) == len(made)
    for (info, data), (entry, stored) in zip(made, found, strict=True):
        # tarfile adds the slash to directories.
        assert entry.name.rstrip(b"/") == info.name.encode().rstrip(b"/")
        assert entry.kind == info.type
        assert (entry.mode, entry.uid, entry.gid) == (info.mode, info.uid, info.gid)
        assert entry.mtime == info.mtime * 10**9
        assert entry.link == info.linkname.encode()
        assert stored == (data if info.type == tarfile.REGTYPE else b"")


@pytest.mark.parametrize("format", FORMATS)
def test_a_name_split_into_prefix_and_name_is_joined(format: str) -> None:
    name = "d" * 90 + "/" + "f" * 90
    assert read(tar([member(name, "file", "x")], FORMATS[format]))[0][0].name.decode() == name


def test_gnu_tar_s_sparse_files_are_read_in_every_format(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as made:
        for at in range(60):
            made.seek(at * 100_000)
            made.write(b"data %d" % at)
        made.truncate(7_000_000)
    for options in (["--format=gnu"], ["--sparse-version=0.0"], ["--sparse-version=0.1"], ["--sparse-version=1.0"]):
        pax = [] if options[0].startswith("--format") else ["--format=pax"]
        command = ["tar", *pax, *options, "-S", "-c", "-C", tmp_path, "sparse"]
        data = subprocess.run(command, capture_output=True, check=True).stdout
        [(entry, stored)] = read(data)
        assert entry.name == b"sparse", options
        assert entry.size == 7_000_000
        assert entry.pieces
        assert len(stored) == entry.stored == sum(length for _, length in entry.pieces)
        whole = bytearray(entry.size)
        at = 0
        for offset, length in entry.pieces:
            whole[offset : offset + length] = stored[at : at + length]
            at += length
        assert bytes(whole) == file.read_bytes()


def test_pax_records_come_before_header_fields() -> None:
    pax = {"mtime": "1234.5", "uid": "70000", "SCHILY.xattr.user.x": "v", "comment": "ignored"}
    [(entry, _)] = read(tar([member("f", "file", "x", uid=5, pax_headers=pax)]))
    assert (entry.uid, entry.mtime, entry.xattrs) == (70000, 1_234_500_000_000, {b"user.x": b"v"})


def test_a_global_header_is_no_entry_and_changes_none() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "7"}) as archive:
        archive.addfile(tarfile.TarInfo("f"))
    [(entry, _)] = read(buffer.getvalue())
    assert (entry.name, entry.uid) == (b"f", 0)


def test_data_that_nobody_reads_is_skipped() -> None:
    data = tar([member("a", "file", "x" * 3000), member("b", "file", "y")])
    assert [entry.name for entry in TarReader(io.BytesIO(data))] == [b"a", b"b"]


def test_nothing_is_read_after_the_end() -> None:
    source = io.BytesIO(tar([member("a")]) + b"garbage" * 1000)
    assert [entry.name for entry in TarReader(source)] == [b"a"]


def test_an_archive_without_an_end_block_is_whole() -> None:
    data = tar([member("a", "file", "x")])
    assert [entry.name for entry, _ in read(data[:1024])] == [b"a"]
    assert read(b"") == []


def broken(at: int, field: bytes, base: bytes | None = None) -> bytes:
    """A header with a field overwritten and the checksum made good."""
    block = bytearray((base or header(b"f", tarread.REGULAR))[:512])
    block[at : at + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def special(kind: bytes, size: int, body: bytes = b"") -> bytes:
    data = header(b"x", kind, size=size)[-512:] + body
    return data + bytes(-len(data) % 512) + header(b"f", tarread.REGULAR) + bytes(1024)


def record(text: bytes) -> bytes:
    return special(b"x", len(text), text)


BAD = {
    "not a tar": b"no tar at all, really" * 50,
    "half a header": header(b"f", tarread.REGULAR)[:300],
    "a wrong checksum": header(b"f", tarread.REGULAR).replace(b"f", b"g", 1),
    "data cut off": tar([member("f", "file", "x" * 2000)])[:1500],
    "padding cut off": tar([member("f", "file", "x" * 2000), member("g")])[: 512 + 2001],
    "a negative size": broken(124, b"\xff" * 12),
    "an enormous size": broken(124, b"\x80" + b"\xff" * 11),
    "a size that is no number": broken(124, b"12x4567890\0\0"),
    "a digit that is not octal": broken(124, b"00000000009\0"),
    "a signed size": broken(124, b"-0000000001\0"),
    "an owner out of range": broken(108, b"\x80\0\0\0\xff\xff\xff\xff"),
    "an unknown type": broken(156, b"Z"),
    "a long name without end": special(b"L", 2 << 20),
    "a pax header without end": special(b"x", 2 << 20),
    "a global header without end": special(b"g", 2 << 20),
    "a pax record without length": record(b"path=x\n"),
    "a pax record longer than the header": record(b"99 path=x\n"),
    "a pax record without newline": record(b"10 path=xx"),
    "a pax record without equals": record(b"8 pathx\n"),
    "a pax record with a length of a million digits": record(b"9" * 900_000 + b" path=x\n"),
    "a NUL in a pax path": record(b"11 path=x\0\n"),
    "a negative pax size": record(b"11 size=-1\n"),
    "a pax owner of -1": record(b"18 uid=4294967295\n"),
    "a sparse map of one number": record(b"22 GNU.sparse.map=123\n"),
    "a sparse map out of order": record(b"29 GNU.sparse.map=10,1,5,1\n".replace(b"29", b"27")),
    "a sparse map of another size": record(b"25 GNU.sparse.map=0,1000\n"),
    "a sparse map of a million pieces": record(b"900022 GNU.sparse.map=" + b"1," * 449_999 + b"1\n"),
    "old sparse pieces that do not add up": broken(386, b"00000000000\x0000000000777\0", broken(156, b"S")),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_malformed_archive_is_refused(kind: str) -> None:
    with pytest.raises(CorruptArchive):
        read(BAD[kind])


def test_the_last_entry_may_lack_its_padding() -> None:
    archive = tar([member("f", "file", "x" * 2000), member("g")])[: 512 + 2000]
    assert read(archive)[0][1] == b"x" * 2000


def test_an_endless_sparse_map_in_the_data_is_refused() -> None:
    keys = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1", "GNU.sparse.name": "f"}
    for text in (b"99999999\n", b"5\n" + b"1\n" * 3, b"x", b"1" * 5000):
        with pytest.raises(CorruptArchive):
            read(tar([member("f", "file", text.ljust(2048, b"\0"), pax_headers=keys)]))


def test_the_oldest_tars_know_a_directory_by_its_slash() -> None:
    assert read(broken(0, b"dir/\0", broken(156, b"\0")))[0][0].kind == tarread.DIRECTORY
    assert read(broken(156, b"\0"))[0][0].kind == tarread.REGULAR


def test_a_hard_link_with_a_size_stores_nothing() -> None:
    link = header(b"l", tarread.LINK, size=5000, link=b"f")
    assert [entry.name for entry, _ in read(link + header(b"g", tarread.REGULAR) + bytes(1024))] == [b"l", b"g"]


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    entries = [member("a" * 120, "file", "x" * 700), member("d", "dir"), member("s", "symlink", "a", uid=3)]
    made = bytearray(tar(entries))
    for _ in range(data.draw(st.integers(1, 6))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(made)))
    try:
        read(bytes(made[:cut]))
    except CorruptArchive:
        pass


@given(st.binary(max_size=3000))
def test_random_bytes_are_no_crash(data: bytes) -> None:
    try:
        read(data)
    except CorruptArchive:
        pass


@given(
    names,
    st.integers(0, 2**32 - 2),
    st.integers(0, 2**40),
    st.integers(-(2**33), 2**36),
    st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: not {0, 61} & set(key)), st.binary(max_size=40)
    ),
)
def test_a_header_written_is_the_header_read(name: str, owner: int, size: int, mtime: int, xattrs: dict) -> None:
    made = header(name.encode(), tarread.REGULAR, uid=owner, gid=owner, size=size, mtime=mtime, xattrs=xattrs)
    entry = next(iter(TarReader(io.BytesIO(made))))
    assert (entry.name, entry.uid, entry.gid, entry.size) == (name.encode(), owner, owner, size)
    assert (entry.mtime, entry.xattrs) == (mtime * 10**9, xattrs)
    if size < 1000:
        with tarfile.open(fileobj=io.BytesIO(made + bytes(size + -size % 512) + bytes(1024))) as archive:
            info = archive.next()
            assert info is not None
            assert (info.name, info.uid, info.size, info.mtime) == (name.rstrip("/"), owner, size, mtime)


def test_a_name_that_is_not_utf8_is_kept_byte_for_byte() -> None:
    name = os.fsencode("caf\udce9")
    assert read(header(name, tarread.REGULAR) + bytes(1024))[0][0].name == name
