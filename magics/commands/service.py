"""`dosirak service`: the engine in the foreground."""

from __future__ import annotations

import os
import sys

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command


@click.command("service", cls=Command, usage="", at_most=0)
@click.pass_obj
def service(session: Session) -> Result:
    """Run the engine service in the foreground, until ^C. Clients start one by themselves when they find none."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dosirak.engine.service"])  # noqa: S606
