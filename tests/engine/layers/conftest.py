"""Fixtures of the layers' tests: a root inside a folder that stands for the host and must not change."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dosirak.engine.layers.extract import extract
from dosirak.engine.layers.model import Extracted


@dataclass
class Place:
    """`root` is where archives go; `marker` is a file of the host, two levels above."""

    host: Path

    @property
    def root(self) -> Path:
        return self.host / "data" / "root"

    @property
    def marker(self) -> Path:
        return self.host / "marker"

    def extract(self, data: bytes, *, whiteouts: bool = True) -> Extracted:
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return extract(io.BytesIO(data), fd, whiteouts=whiteouts)
        finally:
            os.close(fd)

    def outside(self) -> object:
        """All there is to see outside the root."""
        status = self.marker.stat()
        seen: list[object] = [
            (self.marker.read_bytes(), status.st_nlink, status.st_mode, status.st_uid, status.st_mtime_ns)
        ]
        for here, directories, files in os.walk(self.host):
            if Path(here) == self.root:
                directories.clear()
                continue
            own = os.stat(here)
            seen.append((here, own.st_mode, own.st_uid, sorted(directories), sorted(files)))
        return seen


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "host")
    made.root.mkdir(parents=True)
    made.marker.write_text("secret of the host")
    before = made.outside()
    yield made
    assert made.outside() == before, "something outside the root was changed"
