"""Names of images: the grammar of distribution/reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed name: `domain` ("docker.io"), `path` ("library/ubuntu"), `tag` and `digest` ("" if not given)."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: "docker.io/library/ubuntu"."""
        return f"{self.domain}/{self.path}"


def parse(text: str) -> Reference:
    """Parses a name as people write it ("ubuntu", "ghcr.io/a/b:1", "x@sha256:…").

    Raises InvalidRequest, in Docker's words.
    """
    raise NotImplementedError
