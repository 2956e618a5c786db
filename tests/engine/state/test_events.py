"""Events: order, history, filters, slow and leaving readers."""

from __future__ import annotations

import asyncio
import time

import pytest

from dosirak.engine.state import Event, Events
from dosirak.engine.state.events import KEPT, includes


async def take(reader, count):
    return [await asyncio.wait_for(anext(reader), 5) for _ in range(count)]


async def test_a_reader_gets_what_is_published_between_subscribing_and_reading():
    events = Events()
    async with events.subscribe() as reader:
        events.publish("container", "create", "c1", {"name": "web"})
        events.publish("container", "start", "c1")
        found = await take(reader, 2)
    assert [(event.action, event.id) for event in found] == [("create", "c1"), ("start", "c1")]
    assert found[0].attributes == {"name": "web"}


async def test_times_never_repeat():
    events = Events()
    times = [events.publish("container", "top", "c").time_ns for _ in range(1000)]
    assert times == sorted(set(times))


async def test_since_replays_what_was_kept_and_then_goes_on():
    events = Events()
    first = events.publish("container", "create", "c1")
    second = events.publish("container", "start", "c1")
    async with events.subscribe(since_ns=second.time_ns) as reader:
        events.publish("container", "die", "c1")
        assert [event.action for event in await take(reader, 2)] == ["start", "die"]
    assert first.time_ns < second.time_ns


async def test_without_since_the_past_is_not_shown():
    events = Events()
    events.publish("container", "create", "c1")
    async with events.subscribe() as reader:
        events.publish("container", "start", "c1")
        assert [event.action for event in await take(reader, 1)] == ["start"]


async def test_the_stream_ends_at_until():
    events = Events()
    events.publish("container", "create", "c1")
    async with events.subscribe(until_ns=time.time_ns() + 50_000_000) as reader:
        assert [event.action async for event in reader] == ["create"]


async def test_an_until_in_the_past_only_replays():
    events = Events()
    event = events.publish("container", "create", "c1")
    events.publish("container", "start", "c1")
    async with events.subscribe(since_ns=0, until_ns=event.time_ns) as reader:
        assert [event.action async for event in reader] == ["create"]


async def test_only_the_last_events_are_kept():
    events = Events()
    for number in range(KEPT + 10):
        events.publish("container", "top", str(number))
    async with events.subscribe(since_ns=0, until_ns=time.time_ns()) as reader:
        found = [event.id async for event in reader]
    assert found[0] == "10" and len(found) == KEPT


async def test_closing_ends_waiting_readers():
    events = Events()
    reader = events.subscribe()
    waiting = asyncio.create_task(anext(reader, None))
    await asyncio.sleep(0)
    events.close()
    assert await asyncio.wait_for(waiting, 5) is None


EVENT = Event("container", "exec_start: ls -l", "abcdef", {"name": "web", "image": "nginx:1", "tier": "front"}, 1)


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"type": ["container"]}, True),
        ({"type": ["image"]}, False),
        ({"event": ["exec_start"]}, True),
        ({"event": ["exec_start: ls -l"]}, True),
        ({"event": ["exec"]}, False),
        ({"event": ["start", "exec_start"]}, True),
        ({"container": ["web"]}, True),
        ({"container": ["abc"]}, True),
        ({"container": ["db"]}, False),
        ({"image": ["nginx"]}, True),
        ({"image": ["nginx:1"]}, True),
        ({"image": ["nginx:2"]}, False),
        ({"label": ["tier"]}, True),
        ({"label": ["tier=front"]}, True),
        ({"label": ["tier=front", "missing"]}, False),
        ({"type": ["container"], "container": ["db"]}, False),
        ({"colour": ["red"]}, True),
        ({"colour": ["red"], "type": ["image"]}, False),
    ],
)
def test_filters_match_as_dockers(filters, matches):
    assert includes(filters, EVENT) is matches
