"""The functions of Docker's templates, and how Go prints values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d+))?([vsdqxtfge%])")


def go_text(value: Any) -> str:
    """Return what Go's fmt prints for a value: `true`, `[a b]`, `map[k:v]`, `<no value>`."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping) and type(value).__str__ is object.__str__:
        return f"map[{' '.join(f'{k}:{go_text(v)}' for k, v in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(go_text, value))}]"
    return str(value)


def to_json(value: Any) -> str:
    """Return compact JSON, `<`, `>` and `&` escaped as Go does."""
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if not callable(item)}
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _printf(form: str, *arguments: Any) -> str:
    left = list(arguments)

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb == "q":
            text = json.dumps(str(value), ensure_ascii=False)
        elif verb in "vst":
            text = go_text(value)
        else:
            text = f"%{flags}{'.' + precision if precision else ''}{verb}" % value
        width_ = int(width or 0)
        return text.ljust(width_) if "-" in flags else text.rjust(width_)

    return _VERB.sub(replace, form)


def _len(value: Any) -> int:
    if not isinstance(value, str | Mapping | list | tuple):
        raise TypeError(f"len of type {'nil' if value is None else type(value).__name__}")
    return len(value)


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _truncate(text: str, limit: int) -> str:
    return str(text)[: int(limit)]


def _join(values: Any, separator: str) -> str:
    if not isinstance(values, list | tuple):
        raise TypeError(f"join wants a list, not {go_text(values)[:40]}")
    return separator.join(map(go_text, values))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "join": _join,
    "split": lambda text, separator: str(text).split(separator),
    "title": lambda text: str(text).title(),
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "pad": lambda text, before, after: " " * int(before) + str(text) + " " * int(after),
    "truncate": _truncate,
    "print": lambda *values: " ".join(map(go_text, values)),
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "printf": _printf,
    "len": _len,
    "index": _index,
    "slice": lambda value, *bounds: value[slice(*bounds)],
    "eq": lambda value, *others: any(value == other for other in others),
    "ne": lambda value, other: value != other,
    "lt": lambda value, other: value < other,
    "le": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "ge": lambda value, other: value >= other,
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
}
