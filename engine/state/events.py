"""The engine's events, as `docker events` shows them: published by the rooms, kept for a while, streamed to readers.

The last 256 stay in memory for `since`, as in Docker. Publishing never waits for a reader.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType

import msgspec

from dosirak.engine.state import filters as match
from dosirak.engine.state.filters import Filters

KEPT = 256
# A reader that is further behind than this loses the oldest events (Docker skips a reader that is busy for 100 ms).
BACKLOG = 16384
_BY_ACTOR = ("daemon", "container", "plugin", "volume", "network", "service", "node", "secret", "config")
# These actions carry their subject ("exec_start: ls"): the filter names the action alone.
_WITH_SUBJECT = frozenset({"health_status", "exec_create", "exec_start"})


class Event(msgspec.Struct, frozen=True):
    """One event: `type` is "container", "image" …; `id` the actor's; `time_ns` unix nanoseconds."""

    type: str
    action: str
    id: str
    attributes: dict[str, str]
    time_ns: int
    scope: str = "local"


def includes(filters: Filters, event: Event) -> bool:
    """Whether Docker's filters let the event through. Here it ignores those that it does not know (moby's
    daemon/events/filter.go)."""
    return (
        _action(filters, event)
        and match.exact(filters, "type", event.type)
        and match.exact(filters, "scope", event.scope)
        and all(_actor(filters, key, event) for key in _BY_ACTOR if key in filters)
        and ("image" not in filters or _image(filters, event))
        and match.labels(filters, "label", event.attributes)
    )


def _action(filters: Filters, event: Event) -> bool:
    if _WITH_SUBJECT.isdisjoint(filters.get("event", ())):
        return match.exact(filters, "event", event.action)
    return match.fuzzy(filters, "event", event.action)


def _actor(filters: Filters, key: str, event: Event) -> bool:
    return match.fuzzy(filters, key, event.id) or match.fuzzy(filters, key, event.attributes.get("name", ""))


def _image(filters: Filters, event: Event) -> bool:
    name = event.attributes.get("name" if event.type == "image" else "image", "")
    candidates = (event.id, name, _without_tag(event.id), _without_tag(name))
    return any(match.exact(filters, "image", candidate) for candidate in candidates)


def _without_tag(image: str) -> str:
    image = image.partition("@")[0]
    head, slash, last = image.rpartition("/")
    return head + slash + last.partition(":")[0]


class Subscription:
    """One reader's stream: what was kept, then what comes. Iterate it inside `async with`; it ends at `until`."""

    def __init__(self, events: Events, filters: Filters, until_ns: int | None) -> None:
        self._events = events
        self._filters = filters
        self._until_ns = until_ns
        self._pending: deque[Event] = deque(maxlen=BACKLOG)
        self._wakened = asyncio.Event()
        self._closed = False

    def offer(self, event: Event) -> None:
        """Called by `Events`: takes the event if the filters let it through."""
        if not self._filters or includes(self._filters, event):
            self._pending.append(event)
            self._wakened.set()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave; a waiting reader ends."""
        self._closed = True
        self._events.leave(self)
        self._wakened.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._pending:
            if self._closed or not await self._wait():
                self.close()
                raise StopAsyncIteration
        return self._pending.popleft()

    async def _wait(self) -> bool:
        """Wait for an event; False when `until` has come."""
        self._wakened.clear()
        left = None if self._until_ns is None else self._until_ns / 1e9 - time.time()
        if left is not None and left <= 0:
            return False
        try:
            async with asyncio.timeout(left):
                await self._wakened.wait()
        except TimeoutError:
            return bool(self._pending)
        return True


class Events:
    """The one stream of events of an engine."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._readers: set[Subscription] = set()
        self._last_ns = 0

    def publish(self, type: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None) -> Event:
        """Tell everybody: `type` ("container"), `action` ("start"), the actor's id and attributes (Docker's names)."""
        # Two events never carry one time: readers use it as a cursor.
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        event = Event(type, action, actor_id, dict(attributes or {}), self._last_ns)
        self._kept.append(event)
        for reader in self._readers:
            reader.offer(event)
        return event

    def subscribe(
        self, since_ns: int | None = None, until_ns: int | None = None, filters: Filters | None = None
    ) -> Subscription:
        """A reader, counting from this call on: no event is missed between now and the first iteration.

        Parameters: `since_ns`, `until_ns`: unix times in nanoseconds; with either of them the kept events of that span
        come first. `filters`: Docker's.
        """
        reader = Subscription(self, filters or {}, until_ns)
        if since_ns is not None or until_ns is not None:
            for event in self._kept:
                if event.time_ns >= (since_ns or 0) and (until_ns is None or event.time_ns <= until_ns):
                    reader.offer(event)
        self._readers.add(reader)
        return reader

    @property
    def readers(self) -> int:
        """How many subscriptions are open."""
        return len(self._readers)

    def leave(self, reader: Subscription) -> None:
        """Called by a subscription that ends."""
        self._readers.discard(reader)

    def close(self) -> None:
        """End every reader's stream (the service is ending)."""
        for reader in list(self._readers):
            reader.close()
