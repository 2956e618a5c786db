"""`pull`, and the pull that comes before `run` when an image is missing."""

from __future__ import annotations

import click

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DAEMON, DosirakError
from dosirak.magics.grammar.flags import Command, flag, switch


@click.command("pull", cls=Command, usage="[OPTIONS] NAME[:TAG|@DIGEST]", at_least=1, at_most=1)
@switch("-a", "--all-tags", help="Download all tagged images of the repository.")
@flag("--platform", help="Set the platform.")
@switch("-q", "--quiet", help="Suppress verbose output.")
@click.argument("name")
@click.pass_obj
def pull(session: Session, name: str, all_tags: bool, platform: str, quiet: bool) -> Result:
    """Download an image from a registry; the value is the image."""
    pull_image(session, name, platform, quiet=quiet, all_tags=all_tags)
    from dosirak.magics.objects.image import Image

    return Result(Image.of(session.engine, name), name if quiet else None)


def pull_image(session: Session, name: str, platform: str = "", *, quiet: bool = False, all_tags: bool = False) -> None:
    """Pull `name`, telling the steps that matter. Raises DosirakError in the registry's or the engine's words."""
    repository, tag = split_name(name)
    query = {"fromImage": repository, "tag": None if all_tags else tag, "platform": platform or None}
    engine = session.engine
    for event in engine.lines(engine.call("POST", "/images/create", query, stream=True)):
        if "error" in event:
            raise DosirakError(f"{DAEMON}{event['error']}")
        if not quiet and "status" in event and "progressDetail" not in event:
            prefix = f"{event['id']}: " if "id" in event else ""
            session.door.note(f"{prefix}{event['status']}")


def split_name(name: str) -> tuple[str, str]:
    """Return (repository, tag or digest) of an image's name; the tag is latest when none is given."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    return f"{head}{slash}{base}", tag if colon else "latest"
