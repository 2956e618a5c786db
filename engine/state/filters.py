"""Docker's filters: `{"label": ["a=b"], "status": ["exited"]}`; values of one key are ORed, keys are ANDed.

The matching rules are Docker's: exact; fuzzy (equal, or the value matches as a regular expression or a prefix);
labels (every one given must be there: those are ANDed).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from dosirak.engine.errors import InvalidRequest

Filters = Mapping[str, Sequence[str]]


def check_filters(filters: Filters, known: Collection[str]) -> None:
    """Raises InvalidRequest "invalid filter 'x'" for a key that the command does not know."""
    for key in filters:
        if key not in known:
            raise InvalidRequest(f"invalid filter '{key}'")


def exact(filters: Filters, key: str, value: str) -> bool:
    """No filter of this key, or one of its values equals `value`."""
    values = filters.get(key)
    return not values or value in values


def fuzzy(filters: Filters, key: str, value: str) -> bool:
    """As `exact`, or a value of the filter is a prefix of `value`."""
    values = filters.get(key)
    return not values or any(value.startswith(wanted) for wanted in values)


def pattern(filters: Filters, key: str, value: str) -> bool:
    """As `exact`, or a value is found in `value` as a regular expression (a broken one matches nothing)."""
    values = filters.get(key)
    return not values or any(wanted == value or _search(wanted, value) for wanted in values)


def _search(expression: str, value: str) -> bool:
    try:
        return re.search(expression, value) is not None
    except re.error:
        return False


def labels(filters: Filters, key: str, have: Mapping[str, str]) -> bool:
    """Every `name` or `name=value` of the filter is among the labels."""
    for wanted in filters.get(key, ()):
        name, equals, value = wanted.partition("=")
        if name not in have or (equals and have[name] != value):
            return False
    return True


def boolean(filters: Filters, key: str, default: bool) -> bool:
    """The filter's one truth value ("1", "true", "0", "false"). Raises InvalidRequest for anything else."""
    values = filters.get(key)
    if not values:
        return default
    truths = {value.lower() in ("1", "true") for value in values if value.lower() in ("1", "true", "0", "false")}
    if len(truths) != 1 or any(value.lower() not in ("1", "true", "0", "false") for value in values):
        raise InvalidRequest(f"invalid filter '{key}=[{' '.join(values)}]'")
    return truths.pop()
