"""The tree of a template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stands as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, true, false or nil."""

    value: Any


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields after something: `.State.Pid` (base Dot), `$x.Name` (base Variable), `(index .A 0).B` (base Pipe)."""

    base: Any
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dot:
    """The present value."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`; `$` alone is the whole data."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each a list of operands; a command's value is the last argument of the next."""

    commands: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Action:
    """`{{pipe}}`, or `{{$x := pipe}}` which prints nothing."""

    pipe: Pipe
    variable: str = ""


@dataclass(slots=True)
class Block:
    """`if`, `with` or `range` with what it holds and what `else` holds."""

    kind: str
    pipe: Pipe
    variables: tuple[str, ...] = ()
    body: list[Any] = field(default_factory=list)
    otherwise: list[Any] = field(default_factory=list)
