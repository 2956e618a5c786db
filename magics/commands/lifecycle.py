"""`stop`, `restart`, `kill`, `rm`, `rename`, `wait`: what happens to a container after its start."""

from __future__ import annotations

from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import INT
from dosirak.magics.objects.exit import ExitStatus

_SEVERAL = "[OPTIONS] CONTAINER [CONTAINER...]"


@click.command("stop", cls=Command, usage=_SEVERAL, at_least=1)
@flag("-t", "--timeout", "--time", "timeout", type=INT, help="Seconds to wait before killing it.")
@flag("-s", "--signal", help="Signal to send to it.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def stop(session: Session, containers: tuple[str, ...], timeout: int | None, signal: str) -> Result:
    """Stop running containers: SIGTERM, and SIGKILL after 10 seconds; the value is the container."""
    query = {"t": timeout, "signal": signal or None}
    return many.containers(
        session, containers, lambda name: session.engine.post(f"/containers/{name}/stop", query), at_once=True
    )


@click.command("restart", cls=Command, usage=_SEVERAL, at_least=1)
@flag("-t", "--timeout", "--time", "timeout", type=INT, help="Seconds to wait before killing it.")
@flag("-s", "--signal", help="Signal to send to it.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def restart(session: Session, containers: tuple[str, ...], timeout: int | None, signal: str) -> Result:
    """Stop and start containers again; the value is the container."""
    query = {"t": timeout, "signal": signal or None}
    return many.containers(session, containers, lambda name: session.engine.post(f"/containers/{name}/restart", query))


@click.command("kill", cls=Command, usage=_SEVERAL, at_least=1)
@flag("-s", "--signal", help="Signal to send to it (SIGKILL).")
@click.argument("containers", nargs=-1)
@click.pass_obj
def kill(session: Session, containers: tuple[str, ...], signal: str) -> Result:
    """Send a signal to running containers, SIGKILL unless -s names another; the value is the container."""
    query = {"signal": signal or None}
    # A container of --rm may be gone by now, so nothing is looked up afterwards.
    return many.told(
        session, containers, lambda name: session.engine.post(f"/containers/{name}/kill", query), at_once=True
    )


@click.command("rm", cls=Command, usage=_SEVERAL, at_least=1)
@switch("-f", "--force", help="Remove it even while it runs (SIGKILL).")
@switch("-v", "--volumes", help="Remove its anonymous volumes as well.")
@switch("-l", "--link", help="Remove a link, named as CONTAINER/ALIAS.")
@click.argument("containers", nargs=-1)
@click.pass_obj
def remove(session: Session, containers: tuple[str, ...], force: bool, volumes: bool, link: bool) -> Result:
    """Remove containers."""
    from dosirak.magics.engine import ApiFailure

    query = {"force": force, "v": volumes, "link": link}

    def removed(name: str) -> ApiFailure | None:
        try:
            session.engine.delete(f"/containers/{name.strip('/')}", query)
        except ApiFailure as error:
            if not (force and error.status == 404):
                raise
            return error
        return None

    return many.told(session, containers, removed, at_once=True)


@click.command("rename", cls=Command, usage="CONTAINER NEW_NAME", at_least=2, at_most=2)
@click.argument("container")
@click.argument("name")
@click.pass_obj
def rename(session: Session, container: str, name: str) -> Result:
    """Rename a container; the value is the container."""
    session.engine.post(f"/containers/{container}/rename", {"name": name})
    from dosirak.magics.objects.container import Container

    return Result(Container.of(session.engine, name))


@click.command("wait", cls=Command, usage="CONTAINER [CONTAINER...]", at_least=1)
@click.argument("containers", nargs=-1)
@click.pass_obj
def wait(session: Session, containers: tuple[str, ...]) -> Result:
    """Block until containers have stopped; the value is the exit status, or their list."""

    def waited(name: str) -> ExitStatus:
        found: dict[str, Any] = session.engine.post(f"/containers/{name}/wait")
        return ExitStatus.of(int(found["StatusCode"]), name)

    return many.values(session, containers, waited, line=lambda _, status: str(int(status)))
