"""`inspect`, for each kind and for anything by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from dosirak.magics.commands import many
from dosirak.magics.commands.present import documents_result
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.flags import Command, flag, switch

_FORMAT = flag("-f", "--format", "template", help="json, or a Go template.")
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


@click.command("inspect", cls=Command, usage="[OPTIONS] CONTAINER [CONTAINER...]", at_least=1)
@_FORMAT
@switch("-s", "--size", help="Tell the sizes of its files.")
@click.argument("names", nargs=-1)
@click.pass_obj
def inspect_container(session: Session, names: tuple[str, ...], template: str, size: bool) -> Result:
    """Show everything about containers; `found["State.Pid"]` looks into the value."""
    return documents_result(_documents(session, ["container"], names, size), template)


@click.command("inspect", cls=Command, usage="[OPTIONS] IMAGE [IMAGE...]", at_least=1)
@_FORMAT
@click.argument("names", nargs=-1)
@click.pass_obj
def inspect_image(session: Session, names: tuple[str, ...], template: str) -> Result:
    """Show everything about images."""
    return documents_result(_documents(session, ["image"], names), template)


@click.command("inspect", cls=Command, usage="[OPTIONS] NETWORK [NETWORK...]", at_least=1)
@_FORMAT
@switch("-v", "--verbose", help="Accepted; there is no more to tell.", hidden=True)
@click.argument("names", nargs=-1)
@click.pass_obj
def inspect_network(session: Session, names: tuple[str, ...], template: str, verbose: bool) -> Result:
    """Show everything about networks."""
    return documents_result(_documents(session, ["network"], names), template)


@click.command("inspect", cls=Command, usage="[OPTIONS] VOLUME [VOLUME...]", at_least=1)
@_FORMAT
@click.argument("names", nargs=-1)
@click.pass_obj
def inspect_volume(session: Session, names: tuple[str, ...], template: str) -> Result:
    """Show everything about volumes."""
    return documents_result(_documents(session, ["volume"], names), template)


@click.command("inspect", cls=Command, usage="[OPTIONS] NAME|ID [NAME|ID...]", at_least=1)
@_FORMAT
@switch("-s", "--size", help="Tell the sizes of a container's files.")
@flag("--type", "kind", help="container, image, network or volume.")
@click.argument("names", nargs=-1)
@click.pass_obj
def inspect_any(session: Session, names: tuple[str, ...], template: str, size: bool, kind: str) -> Result:
    """Show everything about a container, an image, a network or a volume, whichever has that name."""
    if kind and kind not in _PATHS:
        raise UsageError(f'unknown type: "{kind}": must be one of "container", "image", "network", "volume"', 1)
    return documents_result(_documents(session, [kind] if kind else list(_PATHS), names, size), template)


def _documents(session: Session, kinds: Sequence[str], names: Sequence[str], size: bool = False) -> list[Any]:
    from dosirak.magics.engine import ApiFailure

    def look_up(name: str) -> Any:
        for kind in kinds:
            try:
                return session.engine.get(_PATHS[kind].format(name), {"size": size and kind == "container"})
            except ApiFailure as error:
                if error.status != 404 or len(kinds) == 1:
                    raise
        raise DosirakError(f"Error: No such object: {name}")

    return many.each(names, look_up)
