"""Sizes as people write them."""

from __future__ import annotations

import re

from dosirak.engine.errors import InvalidRequest

_UNITS = "bkmgtp"
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(?P<unit>[a-zA-Z]*)")


def parse_size(text: str, base: int = 1000) -> int:
    """Bytes of "10m", "1.5GB", "4096", in units of `base` (docker/go-units, FromHumanSize). Raises InvalidRequest."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"invalid size: '{text}'")
    unit = match["unit"].lower()
    if unit and (unit[0] not in _UNITS or unit[1:] not in (("", "b", "ib") if unit[0] != "b" else ("",))):
        raise InvalidRequest(f"invalid suffix: '{unit}'")
    size = float(match["number"]) * base ** _UNITS.index(unit[:1] or "b")
    if size >= 1 << 63:  # Go's int64; a float may even be infinite
        raise InvalidRequest(f"invalid size: '{text}'")
    return int(size)
