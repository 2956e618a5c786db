"""What the prunes of all rooms have in common: Docker's filters `label`, `label!` and `until`, and what they report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from dosirak.engine.errors import Conflict, InvalidRequest
from dosirak.engine.state import filters as match
from dosirak.engine.state.filters import Filters, check_filters
from dosirak.engine.state.moments import until

COMMON = frozenset({"label", "label!", "until"})


class Pruned(msgspec.Struct, frozen=True):
    """What a prune has removed, and how many bytes that gave back."""

    removed: list[str]
    reclaimed: int = 0


class Once:
    """A room's prune runs once at a time."""

    def __init__(self) -> None:
        self._running = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raises Conflict inside another one."""
        if self._running:
            raise Conflict("a prune operation is already running")
        self._running = True
        try:
            yield
        finally:
            self._running = False


class Choice(msgspec.Struct, frozen=True):
    """Which of the unused things go: made before `before` (unix nanoseconds; None: whenever), with the right labels."""

    filters: Filters
    before: int | None

    def takes(self, created: int | None, labels: Mapping[str, str]) -> bool:
        """Whether a thing goes. Parameters: `created`: unix nanoseconds, None if unknown."""
        if self.before is not None and (created is None or created > self.before):
            return False
        without = self.filters.get("label!")
        return match.labels(self.filters, "label", labels) and not (
            without and match.labels({"label": without}, "label", labels)
        )


def choice(filters: Filters, known: Iterable[str] = COMMON) -> Choice:
    """Parameters: `known`: the filters this prune has. Raises InvalidRequest."""
    check_filters(filters, frozenset(known))
    moments = filters.get("until", ())
    if len(moments) > 1:
        raise InvalidRequest("more than one until filter specified")
    return Choice(filters, until(moments[0]) if moments else None)
