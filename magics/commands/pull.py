"""`pull` and `push`, and the pull that comes before `run` when an image is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


@click.command("push", cls=Command, usage="[OPTIONS] NAME[:TAG]", at_least=1, at_most=1)
@switch("-a", "--all-tags", help="Push all tags of the repository.")
@switch("-q", "--quiet", help="Suppress verbose output.")
@click.argument("name")
@click.pass_obj
def push(session: Session, name: str, all_tags: bool, quiet: bool) -> Result:
    """Upload an image to a registry; the value is the digest it has there, with -a the digest of each tag."""
    repository, tag = split_name(name)
    if all_tags and name != repository:
        raise DosirakError("tag can't be used with --all-tags/-a")
    query = {} if all_tags else {"tag": tag}
    pushed = _follow(session, f"/images/{repository}/push", query, repository, quiet)
    digests = {aux["Tag"]: aux["Digest"] for aux in pushed if "Digest" in aux}
    value: Any = digests if all_tags else digests.get(tag)
    return Result(value, (repository if all_tags else f"{repository}:{tag}") if quiet else None)


def pull_image(session: Session, name: str, platform: str = "", *, quiet: bool = False, all_tags: bool = False) -> None:
    """Pull `name`, telling the steps that matter. Raises DosirakError in the registry's or the engine's words."""
    repository, tag = split_name(name)
    query = {"fromImage": repository, "tag": None if all_tags else tag, "platform": platform or None}
    _follow(session, "/images/create", query, repository, quiet)


def _follow(
    session: Session, path: str, query: Mapping[str, Any], repository: str, quiet: bool
) -> list[Mapping[str, Any]]:
    """POST, tell the steps that matter as they come, return what was meant for programs. Raises DosirakError."""
    engine = session.engine
    answer = engine.call("POST", path, query, headers=authority(repository), stream=True)
    view = None if quiet else session.door.transfer_view()
    found = []
    try:
        for event in engine.lines(answer):
            if "error" in event:
                raise DosirakError(f"{DAEMON}{event['error']}")
            if "aux" in event:
                found.append(event["aux"])
            elif view is not None:
                view.feed(event)
    finally:
        if view is not None:
            view.close()
    return found


def authority(repository: str) -> dict[str, str]:
    """What `docker login` left for this repository's registry in `~/.docker/config.json`, as a header; or nothing."""
    from dosirak.magics.logins import Logins

    login = Logins().find(registry_of(repository))
    return {"X-Registry-Auth": login.header} if login else {}


def registry_of(repository: str) -> str:
    """Return the domain of a repository's name, docker.io when it has none (distribution/reference's rule)."""
    first, slash, _ = repository.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first.lower() != first):
        return first
    return "docker.io"


def split_name(name: str) -> tuple[str, str]:
    """Return (repository, tag or digest) of an image's name; the tag is latest when none is given."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    return f"{head}{slash}{base}", tag if colon else "latest"
