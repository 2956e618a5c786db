"""`start` and `attach`: to a container that exists."""

from __future__ import annotations

from typing import Any

import click

from dosirak.magics.commands import foreground, many
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.flags import Command, flag, switch


@click.command("start", cls=Command, usage="[OPTIONS] CONTAINER [CONTAINER...]", at_least=1, body="stdin")
@switch("-a", "--attach", help="Attach to its output and pass signals on.")
@switch("-i", "--interactive", help="Attach to its standard input.")
@flag("--detach-keys", help="Keys that detach from the container.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def start(session: Session, containers: tuple[str, ...], attach: bool, interactive: bool, detach_keys: str) -> Result:
    """Start stopped containers; the value is the container, or its exit status with -a."""
    if not (attach or interactive):
        return _start(session, containers)
    if len(containers) > 1:
        raise UsageError("you cannot start and attach multiple containers at once", 1)
    attrs = session.engine.get(f"/containers/{containers[0]}/json")
    return foreground.run(session, attrs["Id"], _options(attrs, interactive, True, detach_keys, started=False))


def _start(session: Session, names: tuple[str, ...]) -> Result:
    try:
        return many.containers(session, names, lambda name: session.engine.post(f"/containers/{name}/start"))
    except many.SomeFailed as error:
        lines = f"{error.message}\nError: failed to start containers: {', '.join(error.names)}"
        raise DosirakError(lines, error.exit_code) from error


@click.command("attach", cls=Command, usage="[OPTIONS] CONTAINER", at_least=1, at_most=1, body="stdin")
@switch("--no-stdin", help="Do not attach to its standard input.")
@switch("--sig-proxy", default=True, help="Pass signals to the process.")
@flag("--detach-keys", help="Keys that detach from the container.")
@click.argument("container")
@click.pass_obj
def attach(session: Session, container: str, no_stdin: bool, sig_proxy: bool, detach_keys: str) -> Result:
    """Show a running container's output as it comes; the value is its exit status.

    Interrupting the cell sends SIGINT to it, a second time detaches.
    """
    attrs = session.engine.get(f"/containers/{container}/json")
    state = attrs.get("State", {})
    if not state.get("Running"):
        raise DosirakError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise DosirakError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise DosirakError("You cannot attach to a restarting container, wait until it is running")
    wants_input = not no_stdin and (session.door.body() is not None or not session.door.escalates)
    return foreground.run(session, attrs["Id"], _options(attrs, wants_input, sig_proxy, detach_keys, started=True))


def _options(
    attrs: dict[str, Any], stdin: bool, forward: bool, detach_keys: str, *, started: bool
) -> foreground.Options:
    detach_keys, keys = foreground.detach_keys(detach_keys)
    config = attrs.get("Config", {})
    open_stdin = bool(config.get("OpenStdin"))
    return foreground.Options(
        name=str(attrs.get("Name", "")).lstrip("/") or attrs["Id"][:12],
        tty=bool(config.get("Tty")),
        stdin=stdin and open_stdin,
        open_stdin=open_stdin,
        removed=not started and bool(attrs.get("HostConfig", {}).get("AutoRemove")),
        forward=forward,
        detach_keys=detach_keys,
        key_bytes=keys,
        started=started,
    )
