"""One way to run a command line of the grammar, for every door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from dosirak.magics.doors import Result, Session


def invoke(command: click.Command, name: str, args: Sequence[str], session: Session) -> Result:
    """Run `args` under `command`, called `name` in messages; return its result.

    Raises DosirakError for everything that is the person's or the engine's fault.
    """
    try:
        with command.make_context(name, list(args), obj=session) as context:
            found: Any = command.invoke(context)
    except click.exceptions.Exit as end:  # --help, or an overview
        return Result(exit_code=end.exit_code)
    return found if isinstance(found, Result) else Result(found)


def takes_body(command: click.Command, args: Sequence[str]) -> bool:
    """Whether the command that `args` name has a use for a cell's body."""
    context = click.Context(command)
    words = list(args)
    while isinstance(command, click.Group):
        if not words:
            return False
        found = command.get_command(context, words.pop(0))
        if found is None:
            return True  # let the command itself say that it does not exist
        command = found
    return bool(getattr(command, "body", ""))
