"""An archive as large as one likes: what `load`, `save` and `import` hold of it in memory stays small."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import socket
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from support.engines import Engine
from support.patience import patient
from support.seeds import LONG

MEGABYTE = 1 << 20
SIZE = (5 << 30) if LONG else 300 * MEGABYTE
MOST = 96 * MEGABYTE
"""What the service may need more at its peak than before, for an archive of any size."""
_PIECE = bytes(MEGABYTE)
pytestmark = pytest.mark.timeout(patient(1800 if LONG else 180))


def head(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def layer() -> Iterator[bytes]:
    """A layer with one file of zeros, never whole in memory."""
    yield head("zeros", SIZE)
    for _ in range(SIZE // MEGABYTE):
        yield _PIECE
    yield bytes(1024)


def archive() -> Iterator[bytes]:
    """What `docker save` writes of an image with that layer."""
    digest = hashlib.sha256()
    for piece in layer():
        digest.update(piece)
    diff_id = digest.hexdigest()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    documents = {
        "config.json": config,
        "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": ["large:1"], "Layers": ["l.tar"]}]).encode(),
    }
    for name, data in documents.items():
        yield head(name, len(data)) + data + bytes(-len(data) % 512)
    size = 512 + SIZE + 1024
    yield head("l.tar", size)
    yield from layer()
    yield bytes(-size % 512) + bytes(1024)


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=patient(1200))
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def memory(engine: Engine, what: str) -> int:
    """A line of the service's status, in bytes."""
    text = Path(f"/proc/{engine.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(f"{what}:")).split()[1]) << 10


def post(engine: Engine, path: str, body: Iterable[bytes]) -> bytes:
    connection = Connection(engine.socket)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/x-tar"}, encode_chunked=True)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        return said
    finally:
        connection.close()


class Tar(io.RawIOBase):
    """Reads an answer as it comes."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        data = self._answer.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_a_large_archive_needs_no_more_memory_than_a_small_one(fresh_engine: Engine, tmp_path: Path) -> None:
    engine = fresh_engine
    # A small one first: what the service imports and allots for any.
    image, small = engine.import_busybox(), tmp_path / "small.tar"
    engine.docker("save", image, "-o", small)
    engine.docker("load", "-i", small)
    before = memory(engine, "VmRSS")
    # proc(5), clear_refs: 5 sets the peak back to what there is.
    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")
    assert b"Loaded image: large:1" in post(engine, "/v1.43/images/load", archive())
    connection = Connection(engine.socket)
    connection.request("GET", "/v1.43/images/get?names=large:1")
    with tarfile.open(fileobj=io.BufferedReader(Tar(connection.getresponse()), MEGABYTE), mode="r|") as saved:
        sizes = [one.size for one in saved]
    connection.close()
    assert max(sizes) > SIZE
    engine.docker("rmi", "large:1")
    assert b"sha256:" in post(engine, "/v1.43/images/create?fromSrc=-&repo=large", layer())
    engine.docker("rmi", "large")
    assert memory(engine, "VmHWM") - before < MOST
