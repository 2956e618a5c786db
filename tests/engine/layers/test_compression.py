"""Decompression: every format, in members and frames, and what is broken or greedy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.layers.compression import Compression, decompressed, detect
from dosirak.engine.layers.errors import CorruptArchive

FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": bz2.compress,
}
COMPRESSED = [name for name in FORMATS if name != "plain"]
# Neither short nor even: so that members end within buffers.
DATA = random.Random(1).randbytes(700_001) + bytes(3_000_000)


def read(data: bytes, piece: int = -1) -> bytes:
    stream = decompressed(io.BytesIO(data))
    if piece < 0:
        return stream.read()
    found = []
    while got := stream.read(piece):
        found.append(got)
    return b"".join(found)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_whole(format: str) -> None:
    made = FORMATS[format](DATA)
    assert read(made) == DATA
    assert read(made, 4099) == DATA


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [0, 1, 5, 6, 7])
def test_short_streams_are_read_too(format: str, size: int) -> None:
    data = b"\x1e" * size
    assert read(FORMATS[format](data)) == data


@pytest.mark.parametrize("format", COMPRESSED)
def test_members_one_after_the_other_are_one_stream(format: str) -> None:
    compress = FORMATS[format]
    assert read(compress(DATA) + compress(b"") + compress(b"tail")) == DATA + b"tail"


@pytest.mark.parametrize("format", ["gzip", "xz", "bzip2"])
def test_a_truncated_stream_is_refused(format: str) -> None:
    made = FORMATS[format](DATA)
    for cut in (7, len(made) // 2, len(made) - 1):
        with pytest.raises(CorruptArchive):
            read(made[:cut])


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_damaged_stream_is_refused(format: str) -> None:
    made = bytearray(FORMATS[format](DATA))
    # Past every header, in the data itself.
    made[len(made) // 3 : len(made) // 3 + 64] = bytes(64)
    if format == "zstd":
        made = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(DATA))
        made[-2] ^= 1
    with pytest.raises(CorruptArchive):
        read(bytes(made))


@pytest.mark.parametrize("format", ["gzip", "xz", "bzip2", "zstd"])
def test_garbage_after_the_end_is_refused(format: str) -> None:
    with pytest.raises(CorruptArchive):
        read(FORMATS[format](b"x") + b"garbage")


def test_a_zstd_window_beyond_128_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    made = io.BytesIO()
    # Of unknown size, or a small window would do.
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(made, closefd=False) as writer:
        writer.write(b"x" * 10)
    with pytest.raises(CorruptArchive):
        read(made.getvalue())
    # The control: 128 MiB itself is read.
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    made = io.BytesIO()
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(made, closefd=False) as writer:
        writer.write(b"x" * 10)
    assert read(made.getvalue()) == b"x" * 10


def test_an_xz_that_wants_much_memory_is_refused() -> None:
    greedy = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 512 << 20}])
    with pytest.raises(CorruptArchive):
        read(greedy)


def test_skippable_zstd_frames_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    assert read(skippable + zstandard.compress(b"data")) == b"data"


@pytest.mark.parametrize("format", COMPRESSED)
def test_a_bomb_is_never_whole_in_memory(format: str) -> None:
    # The whole of it through, a piece at a time: 64 MiB from a few thousand bytes.
    made = FORMATS[format](bytes(64 << 20))
    tracemalloc.start()
    try:
        stream = decompressed(io.BytesIO(made))
        total = 0
        while got := stream.read(1 << 16):
            total += len(got)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 64 << 20
    assert peak < 16 << 20


def test_the_source_stays_open() -> None:
    source = io.BytesIO(gzip.compress(b"x"))
    decompressed(source).close()
    assert not source.closed


@given(st.binary(max_size=200), st.sampled_from([kind.value for kind in Compression]))
def test_random_bytes_are_decompressed_or_refused(data: bytes, magic: bytes) -> None:
    try:
        read(magic + data)
    except CorruptArchive:
        pass


@pytest.mark.parametrize("head", [b"", b"\x1f", b"hello", b"\x28\xb5"])
def test_what_is_no_magic_number_is_plain(head: bytes) -> None:
    assert detect(head) is Compression.NONE
