"""What a pull or push tells while it goes on. Plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One line of progress, in Docker's words.

    `id`: the layer's twelve digits (a pull's first line: the tag). `current`, `total`: bytes, 0 when there is nothing
    to count. `layer`: it is about a layer, whose line it replaces.
    `pushed`: for programs, what was pushed.
    """

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    layer: bool = False
    pushed: Pushed | None = None


Tell = Callable[[Message], None]
"""Takes a message. Called on the event loop, must not block."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push left in the registry: the manifest under its tag. `size` is the manifest's, in bytes."""

    tag: str
    digest: str
    size: int
