"""What every `ls` shares: -q, --filter, --no-trunc, --format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dosirak.magics.grammar.flags import flag, switch
from dosirak.magics.grammar.values import FILTER


def listing_flags(quiet_help: str) -> Callable[[Any], Any]:
    """Decorate a callback with the flags of a listing."""

    def decorate(command: Any) -> Any:
        options = [
            switch("-q", "--quiet", help=quiet_help),
            flag("-f", "--filter", "filters", type=FILTER, many=True, help="Filter, name=value."),
            switch("--no-trunc", help="Do not truncate."),
            flag("--format", "template", help="json, table, or a Go template."),
        ]
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def filter_map(filters: tuple[tuple[str, str], ...]) -> dict[str, dict[str, bool]] | None:
    """Return the API's filters document, as the docker CLI writes it."""
    found: dict[str, dict[str, bool]] = {}
    for name, value in filters:
        found.setdefault(name, {})[value] = True
    return found or None
