"""From method and path to a handler. Patterns are Docker's: `{name}` is greedy, since image names contain slashes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from dosirak.engine.api.call import Call

Handler = Callable[["Call"], "Awaitable[StreamResponse]"]

_VARIABLE = re.compile(r"\{(\w+)\}")


class Route(NamedTuple):
    """One operation; `since` the API version that brought it. What only `watches` is cut off when the service ends."""

    method: str
    pattern: str
    handler: Handler
    since: tuple[int, int] = (1, 24)
    watches: bool = False


class Router:
    """Finds the route of a request; routes given earlier win."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._literal: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            if "{" in route.pattern:
                key = (route.method, route.pattern.split("/", 2)[1])
                self._patterns.setdefault(key, []).append((_compile(route.pattern), route))
            else:
                self._literal.setdefault((route.method, route.pattern), route)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route of `method` and the decoded `path` without its version, and the path's variables."""
        route = self._literal.get((method, path))
        if route is not None:
            return route, {}
        segment = path.split("/", 2)[1] if path.startswith("/") else ""
        for pattern, candidate in self._patterns.get((method, segment), ()):
            match = pattern.fullmatch(path)
            if match is not None:
                return candidate, match.groupdict()
        return None


def _compile(pattern: str) -> re.Pattern[str]:
    """A name is anything but control characters: those never reach a lookup, a log line or a file name."""
    parts = _VARIABLE.split(pattern)
    literal, names = parts[::2], parts[1::2]
    expression = re.escape(literal[0])
    for name, after in zip(names, literal[1:], strict=True):
        expression += rf"(?P<{name}>[^\x00-\x1f\x7f]+)" + re.escape(after)
    return re.compile(expression)
