"""What the volumes room hands to others."""

from __future__ import annotations

import msgspec


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as `docker volume inspect` shows it: `created` is unix time, `mountpoint` where its data lies."""

    name: str
    mountpoint: str
    created: float
    driver: str = "local"
    scope: str = "local"
    anonymous: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
