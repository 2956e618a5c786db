"""A magic's line and body → a value: what every magic does once it is really used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from dosirak.magics.commands import tree
from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.doors import Door, Result, Session
from dosirak.magics.errors import DosirakError, Interrupted, UsageError
from dosirak.magics.grammar.flags import Group, load
from dosirak.magics.invoke import invoke, takes_body
from dosirak.magics.line import split

_SINGLE = {
    "topology": "magics.commands.topology:topology",
    "layers": "magics.commands.layers:layers",
    "dockerfile": "magics.commands.build:dockerfile",
    "in": "magics.commands.scripts:inside",
    "file-in": "magics.commands.scripts:file_in",
}

_CELL_ONLY = ("in", "file-in")
_KEEP_GOING = "--keep-going"


def run(magic: str, line: str, body: str | None, names: Mapping[str, Any], door: Callable[[str | None], Door]) -> Any:
    """Run one magic and return its value.

    Parameters: `names` is what `{…}` and `$…` see; `door` makes the door, given the cell's body.

    Raises DosirakError, which IPython shows as one line.
    """
    try:
        result = _invoke(magic, line, body, names, door)
    except DosirakError as error:
        # `from None`: what caused it is for developers, and IPython would print the chain.
        raise error from None
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None
    value = result.value
    return value.listing.frame() if isinstance(value, LazyFrame) else value


def _invoke(
    magic: str, line: str, body: str | None, names: Mapping[str, Any], door: Callable[[str | None], Door]
) -> Result:
    command = _command(magic)
    args = split(line, names)
    if body is not None and magic == "docker" and args in ([], [_KEEP_GOING]):
        from dosirak.magics import pages

        return Result(pages.run(body, door, names, keep_going=bool(args)))
    if body is not None and not takes_body(command, args):
        raise UsageError(f"%%{magic} {' '.join(args[:1])}: this command has no use for a cell's body; use %{magic}", 1)
    called = magic if magic == "docker" else f"%%{magic}" if magic in _CELL_ONLY else f"%{magic}"
    return invoke(command, called, args, Session(door(body), magic, line))


def _command(magic: str) -> click.Command:
    if magic == "docker":
        return tree.docker()
    if magic in _SINGLE:
        return load(_SINGLE[magic])
    group: Group = getattr(tree, magic)
    return group
