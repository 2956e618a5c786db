"""Which filter of system calls a container gets: `--security-opt seccomp=…`, `--privileged`, Docker's default."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES

if TYPE_CHECKING:
    from dosirak.engine.runtime.seccomp import Filter

# Descriptors kept open, a profile and set of capabilities each.
_KEPT = 32
BUILTIN, UNCONFINED = "builtin", "unconfined"


def told(document: bytes, **state: Any) -> bool | dict[str, Any]:
    """What a launch is told of a linux.seccomp, which goes compiled: that there is one, and who listens to it.

    Parameters: `state`: the container's that is joined, for the listener (`runtime.listening`).
    """
    if b'"listenerPath"' not in document:
        return bool(document)
    found = msgspec.json.decode(document)
    return {name: found.get(name) for name in ("listenerPath", "listenerMetadata")} | {"state": state or None}


class Confinement:
    """The filters of one engine's containers, each compiled once: at a container's create, not at its start."""

    def __init__(self, data: Path, *, supported: bool) -> None:
        """Parameters: `data`: the engine's data directory; `supported`: whether the kernel has seccomp filters."""
        self._directory = data / "seccomp"
        self._supported = supported
        # msgspec crashes the process when two threads decode into a structure that none has decoded into before.
        self._one_at_a_time = threading.Lock()
        # By profile ("builtin" or its JSON) and the bounding set, which a profile's rules may depend on.
        self._ready: OrderedDict[tuple[str, frozenset[str]], Filter | None] = OrderedDict()

    async def choose(self, host: HostConfig, option: str, bounding: Sequence[str]) -> Filter | None:
        """The filter of a container, None if it gets none.

        Parameters: `option`: what `--security-opt seccomp=` says, "" if nothing; `bounding`: its bounding set.
        Raises InvalidRequest with the place in the profile.
        """
        if option == UNCONFINED or (host.privileged and not option):
            return None
        if not self._supported:
            if option in ("", BUILTIN):
                return None
            raise InvalidRequest("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
        key = option or BUILTIN, frozenset(bounding)
        if key not in self._ready:
            self._ready[key] = await asyncio.to_thread(self._compile, *key)
            while len(self._ready) > _KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(key)
        return self._ready[key]

    async def prepare(self) -> None:
        """Have the filter of most containers ready before the first one asks for it."""
        await self.choose(HostConfig(), "", DEFAULT_CAPABILITIES)

    def _compile(self, profile: str, bounding: frozenset[str]) -> Filter | None:
        # What compiles is imported by the first container that needs it, in this thread.
        from dosirak.engine.runtime.seccomp import Filters as Store
        from dosirak.engine.runtime.seccomp import ProfileError
        from dosirak.engine.runtime.seccomp import profile as profiles

        try:
            with self._one_at_a_time:
                found = profiles.default() if profile == BUILTIN else profiles.read(profile)
                return Store(self._directory).compile(found, bounding)
        except ProfileError as error:
            raise InvalidRequest(f"Decoding seccomp profile failed: {error}") from error
