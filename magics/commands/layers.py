"""`%layers`."""

from __future__ import annotations

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.grammar.flags import Command


@click.command("layers", cls=Command, usage="IMAGE [PATH]", at_least=1, at_most=2)
@click.argument("image")
@click.argument("path", required=False)
@click.pass_obj
def layers(session: Session, image: str, path: str | None) -> Result:
    """Show what an image is made of: each layer's size, instruction, files added, changed, deleted, and wasted space.

    Wasted is what upper layers replace or delete: it is there, but no container sees it. With a PATH it is also told
    which layer that comes from.
    """
    from dosirak.magics.layers.model import read
    from dosirak.magics.layers.view import LayersView

    with session.engine.ours_alone("layers"):
        document = session.engine.get(f"/dosirak/images/{image}/layers", {"path": path or None})
    view = LayersView(read(document, image, path or ""))
    return Result(view, repr(view))
