"""The tree of a template."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Template:
    """A whole template: its text and what stands in it."""

    text: str
    nodes: list[Any]


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
    """Fields after something: `.State.Pid` (base Dot), `$x.Name` (base Variable), `(index .A 0).B` (base Pipe).

    `at`: where in the template Go says that it is: at the second field, if there are several.
    """

    base: Any
    fields: tuple[str, ...] = ()
    at: int = 0
    written: str = ""


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
    at: int = 0


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
