"""An images room of the test's own, and archives to put into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from dosirak.engine.content import Index, Platform, Store
from dosirak.engine.images import Images
from dosirak.engine.layers import Layers
from dosirak.engine.state.events import Events
from support.tars import member, tar


class Room:
    """Images with all they stand on. `again()` is the same place as the next service finds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(path / "content")
        self.index = Index(path / "content")
        self.layers = Layers(path / "layers", self.store)
        self.events = Events()
        self.images = Images(self.store, self.index, self.layers, self.events)

    def again(self) -> Room:
        return Room(self.path)

    def files(self) -> list[str]:
        """Everything there is on disk."""
        found = []
        for here, directories, files in os.walk(self.path):
            found += [os.path.relpath(os.path.join(here, name), self.path) for name in directories + files]
        return sorted(found)

    async def load(self, data: bytes, piece: int = 65536, platform: Platform | None = None) -> list[str]:
        return [line async for line in self.images.load(stream(data, piece), platform)]


async def stream(data: bytes, piece: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        yield data[at : at + piece]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path / "data")
    await made.images.start()
    yield made
    await made.layers.close()
    for place in ("content/tmp", "layers/tmp", "layers/pending"):
        assert os.listdir(made.path / place) == [], "something half-made was left"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(*names: str, content: str = "x") -> bytes:
    return tar(member(name, "file", content, mtime=1_700_000_000) for name in names)


def config(layers: Sequence[bytes], **fields: object) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"step {n}"} for n in range(len(layers))],
    }
    return json.dumps(document | fields).encode()


def docker_archive(
    *images: tuple[Sequence[str], Sequence[bytes]],
    compress: Callable[[bytes], bytes] = bytes,
    legacy: bool = False,
    **fields: object,
) -> bytes:
    """As `docker save` writes it: (tags, layers) of each image; `legacy`: with the paths of old."""
    members: dict[str, bytes] = {}
    items = []
    for tags, layers in images:
        document = config(layers, **fields)
        name = digest(document)[7:] + ".json" if legacy else f"blobs/sha256/{digest(document)[7:]}"
        members[name] = document
        paths = []
        for data in layers:
            stored = compress(data)
            path = f"{digest(data)[7:]}/layer.tar" if legacy else f"blobs/sha256/{digest(stored)[7:]}"
            members[path] = stored
            paths.append(path)
        items.append({"Config": name, "RepoTags": list(tags) or None, "Layers": paths})
    members["manifest.json"] = json.dumps(items).encode()
    return tar(member(name, "file", data) for name, data in members.items())


def descriptor(data: bytes, media_type: str, **fields: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **fields}


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def oci_members(layers: Sequence[bytes], name: str = "", **fields: object) -> dict[str, bytes]:
    """An OCI layout's files with one image."""
    document = config(layers, **fields)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(document, CONFIG),
            "layers": [descriptor(data, LAYER) for data in layers],
        }
    ).encode()
    named = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
    index = {"schemaVersion": 2, "manifests": [descriptor(manifest, MANIFEST, **named)]}
    blobs = {f"blobs/sha256/{digest(data)[7:]}": data for data in (document, manifest, *layers)}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}


def packed(members: dict[str, bytes]) -> bytes:
    return tar(member(name, "file", data) for name, data in members.items())
