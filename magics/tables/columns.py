"""What each column is: its type underneath, and its word on display."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dosirak.magics.look import words


@dataclass(frozen=True, slots=True)
class Look:
    """How a listing is worded: relative to the moment it was taken, shortened or not.

    A frame is a snapshot: redisplayed an hour later it still says "2 minutes ago", as its STATUS does.
    """

    kind: str = ""
    now: float = field(default_factory=time.time)
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `dtype` is pandas' (datetime: tz-aware UTC), `word` turns a value into Docker's text.

    `spoken_by` names a column that tells a person the same, so that this one is data only while that one is there.
    `right` aligns numbers.
    """

    title: str
    dtype: str = "str"
    word: Callable[[Any, Look], str] = lambda value, look: str(value)
    spoken_by: str = ""
    right: bool = False


def identity(value: Any, look: Look) -> str:
    """Return an id's 12 digits, or all of it with --no-trunc."""
    return words.short_id(str(value)) if look.truncate else str(value)


def actor(value: Any, look: Look) -> str:
    """Return the 12 digits of an id; a name stays whole."""
    text = str(value)
    return identity(text, look) if len(text) == 64 or text.startswith("sha256:") else text


def command(value: Any, look: Look) -> str:
    """Return the command in quotes, within 20 characters as Docker has it."""
    text = words.shorten(str(value), 20) if look.truncate else str(value)
    return f'"{text}"'


def when(value: Any, look: Look) -> str:
    """Return "3 minutes ago"; N/A for no time, and for Go's zero time."""
    if not isinstance(value, datetime) or value != value or value.year == 1:  # NaT is not equal to itself
        return "N/A"
    return words.ago(value.timestamp(), look.now)


def size(value: Any, look: Look) -> str:
    """Return "117MB"."""
    return words.size(float(value))


def percent(value: Any, look: Look) -> str:
    """Return "12.34%"."""
    return f"{value:.2f}%"


def created_by(value: Any, look: Look) -> str:
    """Return a layer's command within 45 characters, as `history` has it."""
    text = str(value).replace("\t", " ")
    return words.shorten(text, 45) if look.truncate else text


def description(value: Any, look: Look) -> str:
    """Return a repository's description on one line, within 45 characters as `search` has it."""
    text = str(value).replace("\n", " ").replace("\r", " ")
    return words.shorten(text, 45) if look.truncate else text


_CONTAINERS = [
    Column("CONTAINER ID", word=identity),
    Column("IMAGE"),
    Column("COMMAND", word=command),
    Column("CREATED", "datetime", when),
    Column("STATUS"),
    Column("PORTS", "object"),
    Column("NAMES"),
    Column("SIZE", "Int64", lambda value, look: words.size(int(value)), right=True),
    Column("STATE", "category", spoken_by="STATUS"),
    Column("EXIT CODE", "Int64", spoken_by="STATUS", right=True),
]
_IMAGES = [
    Column("REPOSITORY"),
    Column("TAG"),
    Column("DIGEST"),
    Column("IMAGE ID", word=identity),
    Column("CREATED", "datetime", when),
    Column("SIZE", "int64", size, right=True),
]
_IMAGE_TREE = [
    Column("IMAGE"),
    Column("ID", word=identity),
    Column("DISK USAGE", "int64", size, right=True),
    Column("CONTENT SIZE", "int64", size, right=True),
    Column("IN USE", "bool", lambda value, look: "U" if value else ""),
]
_HISTORY = [
    Column("IMAGE", word=lambda value, look: identity(value, look) if str(value).startswith("sha256:") else str(value)),
    Column("CREATED", "datetime", when),
    Column("CREATED BY", word=created_by),
    Column("SIZE", "int64", size, right=True),
    Column("COMMENT"),
]
_LAYERS = [
    Column("LAYER", "int64", right=True),
    Column("SIZE", "int64", size, right=True),
    Column("WASTED", "int64", size, right=True),
    *(Column(title, "int64", right=True) for title in ("ADDED", "CHANGED", "DELETED")),
    Column("INSTRUCTION", word=created_by),
]
_NETWORKS = [
    Column("NETWORK ID", word=identity),
    Column("NAME"),
    Column("DRIVER", "category"),
    Column("SCOPE", "category"),
]
_USAGE = [
    Column("TYPE"),
    Column("TOTAL", "int64", right=True),
    Column("ACTIVE", "int64", right=True),
    Column("SIZE", "int64", size, right=True),
    Column("RECLAIMABLE", "object", right=True),
]
_EVENTS = [
    Column("TIME", "datetime", lambda value, look: words.clock(value)),
    Column("TYPE", "category"),
    Column("ACTION"),
    Column("ID", word=actor),
    Column("NAME"),
    Column("ATTRIBUTES", "object", lambda value, look: words.pairs(value)),
]
_STATS = [
    Column("CONTAINER ID", word=identity),
    Column("NAME"),
    Column("CPU %", "float64", percent, right=True),
    Column("MEM USAGE / LIMIT"),
    Column("MEM %", "float64", percent, right=True),
    Column("NET I/O"),
    Column("BLOCK I/O"),
    Column("PIDS", "int64", right=True),
    *(Column(f"MEM {what}", "int64", size, "MEM USAGE / LIMIT", right=True) for what in ("USAGE", "LIMIT")),
    *(Column(f"NET {way}", "int64", size, "NET I/O", right=True) for way in ("IN", "OUT")),
    *(Column(f"BLOCK {way}", "int64", size, "BLOCK I/O", right=True) for way in ("READ", "WRITTEN")),
]
_DOCTOR = [
    Column("CHECK"),
    Column("STATE", "category"),
    Column("FOUND"),
    Column("COST"),
    Column("REMEDY"),
]
_CHECKS = [
    Column("LINE", "int64", right=True),
    Column("RULE", "category"),
    Column("DETAIL"),
    Column("URL"),
]
_SEARCH = [
    Column("NAME"),
    Column("DESCRIPTION", word=description),
    Column("STARS", "int64"),
    Column("OFFICIAL", "bool", lambda value, look: "[OK]" if value else ""),
]
_CHANGES = [Column("CHANGE", "category"), Column("PATH")]
_TOP = [Column(name, "Int64", right=True) for name in ("PID", "PPID", "C", "NI", "VSZ", "RSS")]

COLUMNS: dict[str, dict[str, Column]] = {
    kind: {column.title: column for column in columns}
    for kind, columns in {
        "containers": _CONTAINERS,
        "images": _IMAGES,
        "image tree": _IMAGE_TREE,
        "history": _HISTORY,
        "layers": _LAYERS,
        "networks": _NETWORKS,
        "top": _TOP,
        "changes": _CHANGES,
        "stats": _STATS,
        "usage": _USAGE,
        "events": _EVENTS,
        "search": _SEARCH,
        "doctor": _DOCTOR,
        "checks": _CHECKS,
    }.items()
}
"""Every listing's columns, by kind and title. A title that is not here is text."""


def shown_titles(kind: str, titles: list[Any]) -> list[Any]:
    """Return the titles to display: all but those another displayed column speaks for."""
    known = COLUMNS.get(kind, {})
    return [title for title in titles if not ((c := known.get(title)) and c.spoken_by in titles)]


def word(kind: str, title: Any, value: Any, look: Look) -> str:
    """Return a value's word on display; nothing for a missing one."""
    if value is None or value is _pandas_na() or value != value:
        return ""
    column = COLUMNS.get(kind, {}).get(title)
    try:
        return column.word(value, look) if column else str(value)
    except (TypeError, ValueError, AttributeError):
        return str(value)  # the person put something else there


def _pandas_na() -> Any:
    import sys

    pandas = sys.modules.get("pandas")
    return pandas.NA if pandas else None
