"""`top` and `port`."""

from __future__ import annotations

import re
from typing import Any

import click

from dosirak.magics.commands.present import LazyFrame, lines_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError
from dosirak.magics.grammar.flags import Command
from dosirak.magics.look.words import Ports
from dosirak.magics.tables.columns import COLUMNS, Look
from dosirak.magics.tables.listing import Listing


@click.command("top", cls=Command, usage="CONTAINER [ps OPTIONS]", at_least=1, interspersed=False)
@click.argument("container")
@click.argument("options", nargs=-1)
@click.pass_obj
def top(session: Session, container: str, options: tuple[str, ...]) -> Result:
    """Show a container's processes; the value is a DataFrame."""
    query = {"ps_args": " ".join(options) or None}
    found = session.engine.get(f"/containers/{container}/top", query)
    titles = list(found.get("Titles") or [])
    rows = [dict(zip(titles, map(_value, titles, row), strict=False)) for row in found.get("Processes") or []]
    listing = Listing(titles, rows, Look("top"))
    return Result(LazyFrame(listing), listing.text())


def _value(title: str, text: str) -> Any:
    if title in COLUMNS["top"]:
        return int(text) if re.fullmatch(r"-?\d+", text) else None
    return text


@click.command("port", cls=Command, usage="CONTAINER [PRIVATE_PORT[/PROTO]]", at_least=1, at_most=2)
@click.argument("container")
@click.argument("port", required=False)
@click.pass_obj
def port(session: Session, container: str, port: str | None) -> Result:
    """Show where a container's ports are published."""
    attrs = session.engine.get(f"/containers/{container}/json")
    ports = [p for p in Ports.of_settings(attrs.get("NetworkSettings", {}).get("Ports")) if p.public]
    if port is None:
        return lines_result([f"{p.private}/{p.protocol} -> {_address(p.ip, p.public)}" for p in ports])
    number, _, protocol = port.partition("/")
    if not number.isdecimal():
        raise DosirakError(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
    found = [p for p in ports if str(p.private) == number and p.protocol == (protocol or "tcp")]
    if not found:
        raise DosirakError(f"Error: No public port '{port}' published for {container}")
    return lines_result([_address(p.ip, p.public) for p in found])


def _address(ip: str, number: int) -> str:
    return f"[{ip}]:{number}" if ":" in ip else f"{ip}:{number}"
