"""Reading the documents of a table: one that is damaged (a bad disk, a hand that slipped) must not cost the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

T = TypeVar("T")
_log = logging.getLogger(__name__)


def decode_all(
    kind: str, rows: Iterable[tuple[str, bytes]], decode: Callable[[bytes], T], then: str
) -> tuple[list[T], list[str]]:
    """The documents of (key, document) rows, and the keys of the damaged ones, of each of which one warning tells.

    Parameters: `kind`: "container"; `then`: what becomes of a damaged one, for the warning.
    """
    read, damaged = [], []
    for key, document in rows:
        try:
            read.append(decode(document))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s %s: its record is damaged (%s): %s", kind, key, error, then)
            damaged.append(key)
    return read, damaged
