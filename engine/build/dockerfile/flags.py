"""The `--name=value` flags of an instruction."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from dosirak.engine.build.dockerfile.text import suggestion
from dosirak.engine.build.errors import DockerfileError


class Kind(Enum):
    """What a flag takes: nothing or true/false, one value, or a value each time it is given."""

    SWITCH = 1
    VALUE = 2
    VALUES = 3


class Flags:
    """The flags given, checked against those the instruction knows.

    Raises DockerfileError for an unknown, repeated or malformed flag.
    """

    def __init__(self, given: tuple[str, ...], known: Mapping[str, Kind]) -> None:
        self._values: dict[str, list[str]] = {}
        for flag in given:
            self._take(flag, known)

    def value(self, name: str, default: str = "") -> str:
        """A VALUE flag's value."""
        return self._values.get(name, [default])[0]

    def values(self, name: str) -> tuple[str, ...]:
        """A VALUES flag's values in order."""
        return tuple(self._values.get(name, ()))

    def switch(self, name: str) -> bool | None:
        """A SWITCH flag's state, None when it was not given."""
        return self._values[name][0] == "true" if name in self._values else None

    def _take(self, flag: str, known: Mapping[str, Kind]) -> None:
        option, equals, value = flag.partition("=")
        name = option.removeprefix("--")
        kind = known.get(name)
        if kind is None:
            raise DockerfileError(f"unknown flag: {option}{suggestion(name, known)}")
        if name in self._values and kind is not Kind.VALUES:
            raise DockerfileError(f"duplicate flag specified: {option}")
        if kind is Kind.SWITCH:
            value = _boolean(option, bool(equals), value)
        elif not equals:
            raise DockerfileError(f"missing a value on flag: {option}")
        self._values.setdefault(name, []).append(value)


def _boolean(option: str, has_value: bool, value: str) -> str:
    if has_value and not value:
        raise DockerfileError(f"missing a value on flag: {option}")
    lowered = value.lower() or "true"
    if lowered not in ("true", "false"):
        raise DockerfileError(f"expecting boolean value for flag {option}, not: {value}")
    return lowered
