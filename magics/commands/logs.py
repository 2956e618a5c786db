"""`logs`."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import parse_duration
from dosirak.magics.streams.hijack import Frames
from dosirak.magics.streams.pump import Sink


@click.command("logs", cls=Command, usage="[OPTIONS] CONTAINER", at_least=1, at_most=1)
@switch("-f", "--follow", help="Follow the output as it comes.")
@flag("--since", help='From then on: "2026-01-02T13:23:37Z", or "42m" for 42 minutes ago.')
@flag("--until", help="Up to then.")
@switch("-t", "--timestamps", help="Show timestamps.")
@switch("--details", help="Show the labels and variables given to the logging driver.")
@flag("-n", "--tail", default="all", help="Number of lines from the end, or all.")
@click.argument("container")
@click.pass_obj
def logs(
    session: Session,
    container: str,
    follow: bool,
    since: str,
    until: str,
    timestamps: bool,
    details: bool,
    tail: str,
) -> Result:
    """Show a container's output; with -f until it ends or the cell is interrupted."""
    attrs = session.engine.get(f"/containers/{container}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "follow": follow,
        "since": moment(since, name="since"),
        "until": moment(until, name="until"),
        "timestamps": timestamps,
        "details": details,
        "tail": tail,
    }
    response = session.engine.call("GET", f"/containers/{attrs['Id']}/logs", query, stream=True)
    sink = session.door.sink()
    try:
        _show(response, sink, framed=not attrs.get("Config", {}).get("Tty"))
    except KeyboardInterrupt:
        # Following has no end of its own: to interrupt it is how one stops looking.
        if not follow or not session.door.escalates:
            raise
    finally:
        sink.close()
        response.close()
    return Result()


def _show(response: Any, sink: Sink, *, framed: bool) -> None:
    frames = Frames()
    # Chunk by chunk as the engine sends them; a fixed size would hold lines back.
    for data in response.raw.stream(65536, decode_content=False):
        if not framed:
            sink.write(1, data)
            continue
        for stream, piece in frames.feed(data):
            sink.write(stream, piece)


def moment(text: str, now: float | None = None, *, name: str = "") -> str | None:
    """Return a unix time for the API of "42m" (ago), an RFC 3339 time or a unix time; None for nothing.

    Parameters: `name`: the flag's, where docker names it. Raises UsageError.
    """
    if not text:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return text
    try:
        return f"{(time.time() if now is None else now) - parse_duration(text) / 1e9:.9f}"
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        named = f'invalid value for "{name}": ' if name else ""
        raise UsageError(f'{named}failed to parse value as time or duration: "{text}"', 1) from None
    return f"{found.timestamp():.9f}"
