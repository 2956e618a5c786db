"""`%topology`."""

from __future__ import annotations

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command


@click.command("topology", cls=Command, usage="[CONTAINER...]")
@click.argument("containers", nargs=-1)
@click.pass_obj
def topology(session: Session, containers: tuple[str, ...]) -> Result:
    """Draw the running system: bridges, veth pairs, containers, addresses, published ports.

    With names, only these containers and what they hang on. In a terminal it is a tree.
    """
    from dosirak.magics.topology.model import read
    from dosirak.magics.topology.picture import Topology

    with session.engine.ours_alone("topology"):
        document = session.engine.get("/dosirak/topology")
    picture = Topology(read(document, containers))
    return Result(picture, repr(picture))
