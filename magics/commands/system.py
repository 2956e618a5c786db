"""`version`, `info`, `events`, and `dosirak status`: the engine itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from dosirak.magics.commands.logs import moment
from dosirak.magics.commands.present import LazyFrame, documents_result, lines_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.flags import Command, flag
from dosirak.magics.grammar.listing import filter_map
from dosirak.magics.grammar.values import FILTER
from dosirak.magics.look import words
from dosirak.magics.objects.facts import Facts
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

_FORMAT = flag("-f", "--format", "template", help="json, or a Go template.")


@click.command("version", cls=Command, usage="[OPTIONS]", at_most=0)
@_FORMAT
@click.pass_obj
def version(session: Session, template: str) -> Result:
    """Show the client's and the engine's version."""
    import docker

    from dosirak import __version__

    server = session.engine.get("/version")
    client = {
        "Version": __version__,
        "ApiVersion": session.engine.client.api.api_version,
        "Library": f"docker-py {docker.__version__}",
    }
    if template:
        return documents_result([{"Client": client, "Server": server}], template)
    from dosirak.magics.engine import engine_name

    facts = [
        ("Client", f"Dosirak {client['Version']} ({client['Library']}, API {client['ApiVersion']})"),
        ("Engine", f"{engine_name(server)} {server.get('Version', '')}"),
        ("API version", f"{server.get('ApiVersion', '')} (minimum {server.get('MinAPIVersion', '')})"),
        ("OS/Arch", f"{server.get('Os', '')}/{server.get('Arch', '')}"),
        ("Kernel", server.get("KernelVersion", "")),
        ("Address", session.engine.host),
    ]
    return _facts("Dosirak", facts)


@click.command("info", cls=Command, usage="[OPTIONS]", at_most=0)
@_FORMAT
@click.pass_obj
def info(session: Session, template: str) -> Result:
    """Show what the engine has and what the machine offers it."""
    found = session.engine.get("/info")
    if template:
        return documents_result([found], template)
    return _facts("Engine", _info_facts(found))


def _info_facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    counts = f"{found.get('Containers', 0)} ({found.get('ContainersRunning', 0)} running)"
    facts = [
        ("Containers", counts),
        ("Images", str(found.get("Images", 0))),
        ("Version", str(found.get("ServerVersion", ""))),
        ("Storage", str(found.get("Driver", ""))),
        ("Cgroups", f"v{found.get('CgroupVersion', '?')} ({found.get('CgroupDriver', '')})"),
        ("Kernel", str(found.get("KernelVersion", ""))),
        ("System", str(found.get("OperatingSystem", ""))),
        ("CPUs", str(found.get("NCPU", ""))),
        ("Memory", words.binary_size(found.get("MemTotal", 0))),
        ("Name", str(found.get("Name", ""))),
        ("Root", str(found.get("DockerRootDir", ""))),
    ]
    return facts + [("Warning", str(warning)) for warning in found.get("Warnings") or []]


@click.command("status", cls=Command, usage="", at_most=0)
@click.pass_obj
def status(session: Session) -> Result:
    """Show which engine answers, where, and how it is."""
    from dosirak.magics.engine import engine_name

    start = time.perf_counter()
    engine = session.engine
    server = engine.get("/version")
    answered = (time.perf_counter() - start) * 1000
    found = engine.get("/info")
    facts = [
        ("Engine", f"{engine_name(server)} {server.get('Version', '')}, API {server.get('ApiVersion', '')}"),
        ("Address", f"{engine.host} (answers in {answered:.1f} ms)"),
        *_info_facts(found),
    ]
    return _facts("Dosirak", [fact for fact in facts if fact[0] not in ("Version", "Name")])


def _facts(title: str, facts: list[tuple[str, str]]) -> Result:
    shown = Facts(title, [(name, str(value)) for name, value in facts])
    return Result(shown, repr(shown))


@click.command("events", cls=Command, usage="[OPTIONS]", at_most=0)
@flag("-f", "--filter", "filters", type=FILTER, many=True, help="Filter, name=value.")
@flag("--since", help='From then on: "2026-01-02T13:23:37Z", or "42m" for 42 minutes ago.')
@flag("--until", help="Up to then; in a notebook up to now unless given.")
@flag("--format", "template", help="json, or a Go template.")
@click.pass_obj
def events(session: Session, filters: tuple[tuple[str, str], ...], since: str, until: str, template: str) -> Result:
    """Show what happened: the past with --since; in a terminal also what happens from now on.

    A cell has to end, so in a notebook the default is the last hour up to now, and the value a DataFrame.
    """
    now = time.time()
    if session.door.escalates:
        since, until = since or f"{now - 3600:.9f}", until or f"{now:.9f}"
    if template.startswith("table"):
        raise UsageError("events can't be formatted as a table", 1)
    query = {"since": moment(since), "until": moment(until), "filters": filter_map(filters)}
    engine = session.engine
    found = engine.lines(engine.call("GET", "/events", query, stream=True))
    if session.door.escalates:
        return _collected(list(found), template)
    try:
        for event in found:
            session.door.say(_formatted(event, template) if template else _line(event))
    except KeyboardInterrupt:
        pass
    return Result()


def _collected(events: list[Any], template: str) -> Result:
    """What happened in a time that is over."""
    if template:
        return lines_result([_formatted(event, template) for event in events])
    rows = [_row(event) for event in events]
    listing = Listing(["TIME", "TYPE", "ACTION", "ID", "NAME", "ATTRIBUTES"], rows, Look("events"))
    return Result(LazyFrame(listing), "\n".join(map(_line, events)))


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    actor = event.get("Actor") or {}
    attributes = dict(actor.get("Attributes") or {})
    return {
        "TIME": datetime.fromtimestamp(event.get("timeNano", 0) / 1e9, UTC),
        "TYPE": event.get("Type", ""),
        "ACTION": event.get("Action", ""),
        "ID": actor.get("ID", ""),
        "NAME": attributes.pop("name", ""),
        "ATTRIBUTES": attributes,
    }


def _formatted(event: Any, template: str) -> str:
    from dosirak.magics.templates.rows import format_documents

    return format_documents(template, [event])[0]


def _line(event: Mapping[str, Any]) -> str:
    """Return the event as docker prints it."""
    actor = event.get("Actor") or {}
    at = datetime.fromtimestamp(event.get("timeNano", 0) / 1e9, UTC).astimezone()
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{event.get('timeNano', 0) % 10**9:09d}{at:%z}"
    attributes = words.pairs(actor.get("Attributes") or {})
    tail = f" ({attributes})" if attributes else ""
    return f"{stamp} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}{tail}"
