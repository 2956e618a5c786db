"""The monitor's event loop."""

from __future__ import annotations

import os
import time

from dosirak.engine.supervision.loop import IN, OUT, Loop


def test_a_handler_is_called_with_the_events() -> None:
    loop, seen = Loop(), []
    read, write = os.pipe()
    os.write(write, b"x")

    def ready(events: int) -> None:
        seen.append(events)
        loop.stop()

    loop.watch(read, IN, ready)
    loop.run()
    assert seen == [IN]


def test_an_event_of_a_closed_descriptor_does_not_reach_its_successor() -> None:
    """Both are ready in one round; the first handler closes the second's descriptor and opens a new one, which gets
    the same number and must not be told of what happened to the old one."""
    loop, log = Loop(), []
    first, second = os.pipe(), os.pipe()
    third = os.pipe()
    os.write(first[1], b"x")
    os.write(second[1], b"x")

    def swap(mine: tuple[int, int], other: tuple[int, int]) -> None:
        for fd in (mine[0], other[0]):
            loop.forget(fd)
        os.close(other[0])
        successor = os.dup(third[0])  # nothing to read
        assert successor == other[0]
        loop.watch(successor, IN, lambda _: log.append("stale event"))
        loop.after(0.05, loop.stop)

    loop.watch(first[0], IN, lambda _: swap(first, second))
    loop.watch(second[0], IN, lambda _: swap(second, first))
    loop.run()
    assert log == []


def test_watching_again_changes_what_for_and_starves_nobody() -> None:
    """The busy one's handler watches the other again each time, as output does with a client that lags."""
    loop, log = Loop(), []
    busy, other = os.pipe(), os.pipe()
    os.write(busy[1], b"x")

    def other_ready(_: int) -> None:
        log.append("other")
        loop.stop()

    def busy_ready(_: int) -> None:
        log.append("busy")
        loop.watch(other[1], OUT, other_ready)
        assert len(log) < 100, "the other is never served"

    loop.watch(busy[0], IN, busy_ready)
    loop.run()
    assert log[-1] == "other"


def test_timers_fire_in_time_and_can_be_moved() -> None:
    loop, log = Loop(), []

    def late() -> None:
        log.append("late")
        loop.stop()

    def early() -> None:
        log.append("early")
        loop.after(0.01, again)

    def again() -> None:
        log.append("again")

    loop.after(0.0, late)
    loop.after(0.15, late)
    loop.after(0.02, early)
    begin = time.monotonic()
    loop.run()
    assert log == ["early", "again", "late"]
    assert 0.14 < time.monotonic() - begin < 1
