"""The OCI image config document (config.md of the image spec), with Docker's additions.

Lists and maps are None where the document has none (or null), as in Go. Attributes in snake case here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from dosirak.engine.content.model import Digest, Platform


class Healthcheck(msgspec.Struct, rename="pascal", kw_only=True, omit_defaults=True):
    """Docker's HEALTHCHECK. Times in nanoseconds; 0 means Docker's default."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, rename="pascal", kw_only=True, omit_defaults=True):
    """How to run the image: the document's "config" object."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any] | None] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any] | None] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None
    args_escaped: bool = False


class RootFS(msgspec.Struct, kw_only=True):
    """The layers' diff IDs, the lowest first."""

    type: str = "layers"
    diff_ids: list[Digest] = field(default_factory=list)


class History(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One step that made the image; `empty_layer`: it made no layer. `created` is RFC 3339."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole document. Its digest is the image's id. `created` is RFC 3339."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = field(default="", name="os.version")
    created: str | None = None
    author: str = ""
    comment: str = ""
    config: RunConfig = field(default_factory=RunConfig)
    rootfs: RootFS = field(default_factory=RootFS)
    history: list[History] | None = None

    @property
    def platform(self) -> Platform:
        """What the image is made for."""
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)
