"""What the cache holds, a row a thing, and which of it a prune takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.state.filters import Filters, check_filters
from dosirak.engine.state.moments import until

STEP, MOUNT = "regular", "exec.cachemount"
"""The kinds of things, as BuildKit calls them."""

_FIELDS = ("id", "description", "type", "inuse", "shared", "private", "mutable", "immutable")
_KNOWN = frozenset({*_FIELDS, "until", "unused-for", "label", "label!"})
_TRUE = frozenset({"", "1", "true", "t"})


@dataclass(frozen=True, slots=True)
class Usage:
    """A thing in the cache: a finished step's layer, or a directory of RUN --mount=type=cache.

    `size` in bytes; `shared`: an image has that layer too, so that removing this frees nothing; times are unix times.
    """

    id: str
    kind: str
    description: str
    size: int
    shared: bool
    in_use: bool
    created: float
    used: float
    uses: int


@dataclass(frozen=True, slots=True)
class Room:
    """How much may stay, in bytes; None: no matter. `least` goes before the others.

    `least`: so much is never taken; `most`: what is above is; `free`: the disk has to have so much room.
    """

    least: int | None = None
    most: int | None = None
    free: int | None = None

    def kept(self, total: int, disk_free: int) -> int:
        """How many of the cache's `total` bytes stay when the disk has `disk_free` left."""
        if self.most is None and self.free is None:
            return self.least or 0
        kept = total if self.most is None else min(total, self.most)
        if self.free is not None and disk_free < self.free:
            kept = min(kept, total - (self.free - disk_free))
        return max(kept, self.least or 0)


def choose(found: Sequence[Usage], filters: Filters, *, all: bool, room: Room, disk_free: int) -> list[Usage]:
    """What a prune takes: what the filters let it, the longest unused first, until the rest fits.

    Parameters: `all`: also what images stand on. Raises InvalidRequest for an unknown filter.
    """
    check_filters(filters, _KNOWN)
    moments = [*filters.get("until", ()), *filters.get("unused-for", ())]
    if len(moments) > 1:
        raise InvalidRequest("more than one until filter specified")
    before = until(moments[0]) / 1e9 if moments else None
    total = occupied(found)
    kept = room.kept(total, disk_free)
    taken = []
    for usage in sorted(found, key=lambda one: one.used):
        if usage.in_use or (usage.shared and not all) or not _matches(usage, filters):
            continue
        if before is not None and usage.used > before:
            continue
        if room != Room() and total <= kept:
            break
        taken.append(usage)
        total -= 0 if usage.shared else usage.size
    return taken


def occupied(found: Iterable[Usage]) -> int:
    """The bytes that nothing but the cache holds."""
    return sum(usage.size for usage in found if not usage.shared)


def _matches(usage: Usage, filters: Filters) -> bool:
    have: dict[str, str | bool] = {
        "id": usage.id,
        "description": usage.description,
        "type": usage.kind,
        "inuse": usage.in_use,
        "shared": usage.shared,
        "private": not usage.shared,
        "mutable": usage.kind == MOUNT,
        "immutable": usage.kind == STEP,
    }
    if filters.get("label"):
        return False  # nothing in the cache has labels
    return all(any(_fits(have[key], wanted) for wanted in filters.get(key, ())) for key in _FIELDS if filters.get(key))


def _fits(value: str | bool, wanted: str) -> bool:
    """`x`: equal, or the beginning of an id; `~x`: a regular expression, as BuildKit has them."""
    if isinstance(value, bool):
        return value == (wanted.lower() in _TRUE)
    if wanted.startswith("~"):
        try:
            return re.search(wanted[1:], value) is not None
        except re.error as error:
            raise InvalidRequest(f"invalid filter {wanted!r}: {error}") from error
    return value == wanted
