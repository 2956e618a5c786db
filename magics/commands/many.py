"""Commands that take several names: each is tried, what failed is told at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError


def each(names: Sequence[str], act: Callable[[str], Any]) -> list[Any]:
    """Return what `act` gives for each name.

    Raises DosirakError, after all were tried, with every failure's line and the first one's exit status.
    """
    results: list[Any] = []
    failures: list[DosirakError] = []
    for name in names:
        try:
            results.append(act(name))
        except DosirakError as error:
            failures.append(error)
    if failures:
        lines = list(dict.fromkeys(failure.message for failure in failures))
        raise DosirakError("\n".join(lines), failures[0].exit_code)
    return results


def told(session: Session, names: Sequence[str], act: Callable[[str], Any]) -> Result:
    """Act on each name and print it when that is done, as docker does: nothing is left to return."""

    def acted(name: str) -> None:
        act(name)
        session.door.say(name)

    each(names, acted)
    return Result()


def containers(session: Session, names: Sequence[str], act: Callable[[str], Any]) -> Result:
    """Act on each container; the value is the container, or their list, and in a terminal their names."""
    from docker.errors import NotFound

    from dosirak.magics.objects.container import Container

    def acted(name: str) -> Container:
        container = Container.of(session.engine, name)
        act(name)
        with contextlib.suppress(NotFound):  # one of --rm goes with its end, and is shown as it was
            container.reload()
        return container

    found = each(names, acted)
    return Result(found[0] if len(found) == 1 else found, "\n".join(names))
