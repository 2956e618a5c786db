"""`WWW-Authenticate` (RFC 9110, 11.6.1): how a registry wants to be asked. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_SCHEME = re.compile(r"\s*([A-Za-z]+)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_MAX = 8192


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: `scheme` ("bearer", "basic"), and `realm`, `service`, `scope`, `error`."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of an answer, in their order; what is malformed ends its header."""
    return [challenge for header in headers for challenge in _parse(header[:_MAX])]


def _parse(header: str) -> list[Challenge]:
    found = []
    place = 0
    while (scheme := _SCHEME.match(header, place)) is not None:
        place = scheme.end()
        parameters = {}
        while (parameter := _PARAMETER.match(header, place)) is not None:
            name, quoted, bare = parameter.groups()
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            place = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
        if not header[place:].lstrip().startswith(","):
            break
        place = header.index(",", place) + 1
    return found
