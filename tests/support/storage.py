"""What must hold of an engine's images on disk at any quiet moment: read as another tool would, an OCI image layout."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.engines import Engine


def wrong(engine: Engine) -> Iterator[str]:
    """What is half-made, missing or other than its digest says; nothing for a sound store. The service rests."""
    data = engine.settings.data
    for place in ("content/tmp", "layers/tmp", "layers/pending"):
        if left := sorted(os.listdir(data / place)) if (data / place).is_dir() else []:
            yield f"half-made things in {place}: {left}"
    blobs = data / "content/blobs/sha256"
    for path in blobs.iterdir():
        if _digest(path) != path.name:
            yield f"blob {path.name} is another"
    for entry in json.loads((data / "content/index.json").read_bytes())["manifests"]:
        yield from _wrong_entry(blobs, entry)


def _wrong_entry(blobs: Path, entry: dict[str, Any]) -> Iterator[str]:
    path = blobs / entry["digest"][7:]
    if not path.exists():
        yield f"index.json names {entry}, which is not there"
        return
    document = json.loads(path.read_bytes())
    for inner in document.get("manifests", ()):
        if (blobs / inner["digest"][7:]).exists():
            yield from _wrong_entry(blobs, inner)
    for blob in (document["config"], *document["layers"]) if "config" in document else ():
        found = blobs / blob["digest"][7:]
        if not found.exists() or found.stat().st_size != blob["size"]:
            yield f"{entry.get('annotations')}: {blob} is not there"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
