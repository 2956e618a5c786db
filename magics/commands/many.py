"""Commands that take several names: each is tried, what was done is told also when others failed, as docker does."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError

if TYPE_CHECKING:
    from concurrent.futures import Future

# docker-py keeps so many connections; docker asks for 50 at once.
_AT_ONCE = 10


class SomeFailed(DosirakError):
    """Of several names these could not be served: every failure's line, and the first one's exit status."""

    def __init__(self, failures: Mapping[str, DosirakError]) -> None:
        self.names = tuple(failures)
        lines = dict.fromkeys(failure.message for failure in failures.values())
        super().__init__("\n".join(lines), next(iter(failures.values())).exit_code)


def each(names: Sequence[str], act: Callable[[str], Any]) -> list[Any]:
    """Return what `act` gives for each name. Raises SomeFailed, after all were tried."""
    return [value for _, value in _done(names, act)]


def told(session: Session, names: Sequence[str], act: Callable[[str], Any], *, at_once: bool = False) -> Result:
    """Act on each name and print it when that is done: nothing is left to return.

    Parameters: `act` returns an error that is to be told and is no failure; with `at_once` the names do not wait for
    each other, and `act` is called in threads. Raises SomeFailed, after all were tried.
    """
    _ = session.engine.client  # connected before threads ask it
    for name, value in _done(names, act, at_once=at_once):
        if isinstance(value, DosirakError):
            session.door.note(value.message)
        else:
            session.door.say(name)
    return Result()


def values(
    session: Session,
    names: Sequence[str],
    act: Callable[[str], Any],
    *,
    at_once: bool = False,
    line: Callable[[str, Any], str] = lambda name, _: name,
) -> Result:
    """Act on each name; the value is what `act` gives, or their list, and in a terminal a line for each.

    When one fails the lines of the others are printed all the same, also in a notebook, where nothing is returned then.
    Parameters and errors as `told`.
    """
    found, lines = [], []
    try:
        for name, value in _done(names, act, at_once=at_once):
            found.append(value)
            lines.append(line(name, value))
    except SomeFailed:
        for text in lines:
            session.door.say(text)
        raise
    return Result(found[0] if len(found) == 1 else found, "\n".join(lines))


def containers(session: Session, names: Sequence[str], act: Callable[[str], Any], *, at_once: bool = False) -> Result:
    """Act on each container; the value is the container, or their list, and in a terminal their names."""
    from docker.errors import NotFound

    from dosirak.magics.objects.container import Container

    engine = session.engine
    _ = engine.client  # connected before threads ask it

    def acted(name: str) -> Container:
        container = Container.of(engine, name)
        act(name)
        with contextlib.suppress(NotFound):  # one of --rm goes with its end, and is shown as it was
            container.reload()
        return container

    return values(session, names, acted, at_once=at_once)


def _done(names: Sequence[str], act: Callable[[str], Any], *, at_once: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield each name that was served, in their order, and what `act` gave; at the end raise SomeFailed."""
    failures: dict[str, DosirakError] = {}
    if at_once and len(names) > 1:
        asked = [(name, answer.result) for name, answer in zip(names, _in_threads(names, act), strict=True)]
    else:
        asked = [(name, partial(act, name)) for name in names]
    for name, get in asked:
        try:
            value = get()
        except DosirakError as error:
            failures[name] = error
        else:
            yield name, value
    if failures:
        raise SomeFailed(failures)


def _in_threads(names: Sequence[str], act: Callable[[str], Any]) -> list[Future[Any]]:
    """Nobody waits for these threads when the person interrupts: what was asked of the engine goes on there."""
    from concurrent.futures import Future

    answers = [Future[Any]() for _ in names]
    todo = deque(zip(names, answers, strict=True))

    def work() -> None:
        while todo:
            try:
                name, answer = todo.popleft()
            except IndexError:
                return  # another thread was faster
            try:
                answer.set_result(act(name))
            except BaseException as error:
                answer.set_exception(error)

    for _ in range(min(_AT_ONCE, len(names))):
        threading.Thread(target=work, daemon=True).start()
    return answers
