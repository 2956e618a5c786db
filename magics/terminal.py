"""The `dosirak` command: the same grammar at a terminal."""

from __future__ import annotations

import os
import sys

from dosirak.magics.commands import tree
from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.doors import Session
from dosirak.magics.doors.terminal import Terminal
from dosirak.magics.errors import DosirakError
from dosirak.magics.invoke import invoke
from dosirak.magics.look.text import visible


def run(args: list[str]) -> int:
    """Run one command line; return the exit status (125, 126, 127 and the command's own, as docker's)."""
    if args[:1] in (["-v"], ["--version"]):
        from dosirak import __version__

        sys.stdout.write(f"Dosirak version {__version__}\n")
        return 0
    session = Session(Terminal(), "dosirak")
    try:
        result = invoke(tree.command_line(), "dosirak", args, session)
        if result.plain is not None and result.plain != "":
            session.door.say(result.plain)
        elif isinstance(result.value, LazyFrame):
            session.door.say(result.value.listing.text())
    except DosirakError as error:
        session.door.note(f"dosirak: {visible(error.message)}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `dosirak ps | head -1`: the reader has enough. Nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return result.exit_code
