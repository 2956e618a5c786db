"""`stats`: what containers use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from dosirak.magics.commands.present import LazyFrame, lines_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.engine import ApiFailure
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.look import words
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing
from dosirak.magics.usage import measure
from dosirak.magics.usage.measure import Usage

_TITLES = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
_DATA = ["MEM USAGE", "MEM LIMIT", "NET IN", "NET OUT", "BLOCK READ", "BLOCK WRITTEN"]
_HEADERS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
}


@click.command("stats", cls=Command, usage="[OPTIONS] [CONTAINER...]")
@switch("-a", "--all", "all_", help="Show all containers, not only running ones.")
@switch("--no-stream", help="Show them once, and end.")
@switch("--live", help="Show them as they change, also in a notebook, until it is interrupted.")
@switch("--no-trunc", help="Do not truncate output.")
@flag("--format", "template", help="table, json, or a Go template.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def stats(
    session: Session,
    all_: bool,
    no_stream: bool,
    live: bool,
    no_trunc: bool,
    template: str,
    containers: tuple[str, ...],
) -> Result:
    """Show what containers use: CPU, memory, network, block devices; the value is a DataFrame.

    In a terminal, and with --live in a cell, until it is interrupted. Bytes are there as data: MEM USAGE, MEM LIMIT,
    NET IN, NET OUT, BLOCK READ, BLOCK WRITTEN.
    """
    look = Look("stats", truncate=not no_trunc)
    if (live or not session.door.escalates) and not no_stream:
        _follow(session, containers, look, template, all_=all_)
        return Result()
    found = measure.measure(session.engine, _names(session, containers, all_=all_))
    if lines := _lines(found, look, template):
        return lines_result(lines)
    listing = _listing(found, look)
    return Result(LazyFrame(listing), listing.text())


def _names(session: Session, asked: Sequence[str], *, all_: bool) -> list[str]:
    if asked:
        return list(dict.fromkeys(asked))
    return [words.short_id(found["Id"]) for found in session.engine.get("/containers/json", {"all": all_})]


def _follow(session: Session, asked: Sequence[str], look: Look, template: str, *, all_: bool) -> None:
    """Until it is interrupted, or of those that were named none is there any more."""
    view = session.door.table_view()
    before: dict[str, measure.Sample] = {}
    named = list(dict.fromkeys(asked))
    if named:
        before = measure.samples(session.engine, named)  # a name that does not exist is an error
        time.sleep(measure.PAUSE)
    try:
        while True:
            names = named or _names(session, (), all_=all_)
            found = _still_there(session, names)
            rows = [measure.usage(name, sample, before.get(name)) for name, sample in found.items()]
            listing = _listing(rows, look)
            view.show(listing, "\n".join(_lines(rows, look, template)) or listing.text())
            if named and not found:
                return
            before = found
            time.sleep(1.0)
    except KeyboardInterrupt:
        pass  # that is how one stops looking


def _still_there(session: Session, names: Sequence[str]) -> dict[str, measure.Sample]:
    found: dict[str, measure.Sample] = {}
    for name in names:
        try:
            found |= measure.samples(session.engine, [name])
        except ApiFailure as error:
            if error.status != 404:
                raise
    return found


def _listing(found: Sequence[Usage], look: Look) -> Listing:
    return Listing([*_TITLES, *_DATA], [_row(usage) for usage in found], look)


def _row(usage: Usage) -> dict[str, Any]:
    return {
        "CONTAINER ID": usage.id,
        "NAME": usage.name,
        "CPU %": usage.cpu,
        "MEM USAGE / LIMIT": f"{words.binary_size(usage.memory)} / {words.binary_size(usage.limit)}",
        "MEM %": usage.memory_share,
        "NET I/O": f"{words.size(usage.received)} / {words.size(usage.sent)}",
        "BLOCK I/O": f"{words.size(usage.read)} / {words.size(usage.written)}",
        "PIDS": usage.pids,
        "MEM USAGE": usage.memory,
        "MEM LIMIT": usage.limit,
        "NET IN": usage.received,
        "NET OUT": usage.sent,
        "BLOCK READ": usage.read,
        "BLOCK WRITTEN": usage.written,
    }


def _lines(found: Sequence[Usage], look: Look, template: str) -> list[str]:
    """What --format makes of them; [] without one."""
    if not template or template == "table":
        return []
    from dosirak.magics.templates.rows import format_rows

    return format_rows(template, [_fields(usage, look) for usage in found], _HEADERS, "stats")


def _fields(usage: Usage, look: Look) -> dict[str, Any]:
    """The fields that a template sees (docker/cli, formatter_stats.go)."""
    row = _row(usage)
    shown = {title: word(look.kind, title, row[title], look) for title in _TITLES}
    return {
        "Container": usage.asked,
        "Name": usage.name or "--",
        "ID": shown["CONTAINER ID"],
        "CPUPerc": shown["CPU %"],
        "MemUsage": shown["MEM USAGE / LIMIT"],
        "MemPerc": shown["MEM %"],
        "NetIO": shown["NET I/O"],
        "BlockIO": shown["BLOCK I/O"],
        "PIDs": shown["PIDS"],
    }
