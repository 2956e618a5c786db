"""`index.json`: which manifests the store holds, and under which names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dosirak.engine.content.model import Descriptor


class Index:
    """The index of an OCI image layout. Names are full references ("docker.io/library/ubuntu:22.04").

    A manifest may have several names (one entry each) or none (an entry without a name: a dangling image).
    """

    def __init__(self, path: Path) -> None:
        self._path = path / "index.json"

    def names(self) -> dict[str, Descriptor]:
        """Every name and the manifest (or index) it stands for."""
        raise NotImplementedError

    def manifests(self) -> list[Descriptor]:
        """Every manifest once, named or not."""
        raise NotImplementedError

    def set(self, name: str, descriptor: Descriptor) -> None:
        """Gives the manifest a name. A manifest that loses its last name to it stays, nameless."""
        raise NotImplementedError

    def add(self, descriptor: Descriptor) -> None:
        """Records a manifest without a name, if it is not there yet."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Takes a name away; the manifest stays, nameless if it was its last."""
        raise NotImplementedError

    def drop(self, digests: Iterable[str]) -> None:
        """Takes these manifests out, with all their names."""
        raise NotImplementedError
