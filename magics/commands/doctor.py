"""`dosirak doctor`: what this host allows; asks no engine, for it is wanted most where none starts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click

from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError
from dosirak.magics.grammar.flags import Command
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing
from dosirak.magics.tables.text import draw

_TITLES = ["CHECK", "STATE", "FOUND", "COST", "REMEDY"]


@click.command("doctor", cls=Command, usage="", at_most=0)
@click.pass_obj
def doctor(session: Session) -> Result:
    """Show what this host allows containers, what is missing, what that costs, and the command that would give it.

    The status is 1 if something is missing without which no container starts.
    """
    report = _examine()
    rows = [{title: finding[title.lower()] for title in _TITLES} for finding in report["findings"]]
    listing = Listing(_TITLES, rows, Look("doctor"))
    return Result(LazyFrame(listing), _plain(rows), 0 if report["ok"] else 1)


def _examine() -> dict[str, Any]:
    """The report on this machine, whatever DOCKER_HOST names; by a process of its own, which unshares and mounts."""
    found = subprocess.run(
        [sys.executable, "-P", "-m", "dosirak.engine.doctor"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(found.stdout)
    except ValueError as error:
        lines = found.stderr.strip().splitlines()
        raise DosirakError(lines[-1] if lines else "the doctor ended without a word") from error
    return report


def _plain(rows: list[dict[str, str]]) -> str:
    """The table, and below it what to do: commands are too long for a column."""
    titles = _TITLES[:3]
    text = draw(titles, [[row[title] for title in titles] for row in rows])
    for row in rows:
        if row["STATE"] != "ok":
            text += f"\n\n{row['CHECK']} ({row['STATE']}): {row['COST']}\n  {row['REMEDY']}"
    return text
