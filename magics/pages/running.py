"""Runs a page: plain docker commands here, so that they show tables and objects; everything else in the shell."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dosirak.magics.commands import tree
from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.doors import Door, Result, Session
from dosirak.magics.errors import DosirakError, Interrupted
from dosirak.magics.invoke import invoke
from dosirak.magics.objects.exit import ExitStatus
from dosirak.magics.pages.reading import Statement, read
from dosirak.magics.pages.shell import Shell

_FOREGROUND = ("run", "exec", "start", "attach")
_NAMED = re.compile(r"\$\{?([A-Za-z_]\w*)", re.ASCII)
_TTY = re.compile(r"-[itP]*t[itP]*|--tty(=true)?")


def run(page: str, door: Callable[[str | None], Door], names: Mapping[str, Any], *, keep_going: bool = False) -> Any:
    """Run the page's statements one after another, each shown with what it gives; the last one's value.

    Parameters: `door`: makes a door, given what is typed; `names`: the notebook's variables, which the page sees as the
    shell's where the environment has none of the name; `keep_going`: past statements that fail.

    Raises DosirakError at the first statement that fails (as `set -e`), or with `keep_going` at the end.
    """
    statements = read(page)
    here = door(None)
    sink = here.sink()
    value, failed = None, []
    try:
        with Shell(sink.write) as shell:
            shell.run(_assignments(page, names) or ":")
            for number, statement in enumerate(statements):
                if number and value is not None:
                    _show(value)
                if len(statements) > 1:
                    here.say(f"$ {statement.text}")
                try:
                    value = _value(_run(statement, shell, door), statement)
                except Interrupted:
                    raise
                except DosirakError as error:
                    if not keep_going:
                        raise
                    here.note(error.message)
                    value = None
                    failed.append(statement.line)
    finally:
        sink.close()
    if failed:
        numbers = ", ".join(map(str, failed))
        raise DosirakError(f"{len(failed)} of {len(statements)} commands failed: line {numbers}")
    return value


def _assignments(page: str, names: Mapping[str, Any]) -> str:
    """The notebook's words and numbers that the page names, as a shell has them."""
    found = {name: names[name] for name in _NAMED.findall(page) if name in names and name not in os.environ}
    return "; ".join(
        f"{name}={shlex.quote(str(value))}"
        for name, value in found.items()
        if isinstance(value, str | int | float | Path)
    )


def _run(statement: Statement, shell: Shell, door: Callable[[str | None], Door]) -> Result:
    if statement.arguments is None:
        return Result(exit_code=shell.run(statement.text))
    arguments = shell.expand(statement.arguments)
    typed = _typed(statement, arguments, door(None))
    with contextlib.chdir(shell.folder), _environment(shell.environment()):
        return invoke(tree.docker(), "docker", arguments, Session(door(typed), "docker"))


def _typed(statement: Statement, arguments: list[str], door: Door) -> str | None:
    """What a command's standard input gets; None: nothing, or the person's own terminal."""
    if statement.typed:
        return statement.typed if statement.typed.rstrip().endswith("exit") else f"{statement.typed}exit\n"
    words = arguments[1:] if arguments[:1] == ["container"] else arguments
    if door.is_terminal or not words or words[0] not in _FOREGROUND or not any(map(_TTY.fullmatch, words[1:])):
        return None
    # Somebody would now type into it, and leave it some time.
    return "exit\n"


def _value(result: Result, statement: Statement) -> Any:
    """What a person sees of a result. Raises DosirakError when it is a failure."""
    if result.exit_code:
        raise DosirakError(f"line {statement.line}: ended with exit status {result.exit_code}", result.exit_code)
    value = result.value
    if isinstance(value, LazyFrame):
        return value.listing.frame()
    return None if isinstance(value, ExitStatus) else value


def _show(value: Any) -> None:
    from IPython.display import display

    display(value)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """With these in place of this process's environment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
