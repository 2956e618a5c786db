"""`images`, `rmi`, `tag`, `history`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from dosirak.magics.commands import image_tree, many
from dosirak.magics.commands.present import listing_result
from dosirak.magics.commands.pull import split_name
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import UsageError
from dosirak.magics.grammar.flags import Command, switch
from dosirak.magics.grammar.listing import filter_map, listing_flags
from dosirak.magics.look import words
from dosirak.magics.tables.columns import Look, word
from dosirak.magics.tables.listing import Listing

_HEADERS = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}


@click.command("ls", cls=Command, usage="[OPTIONS] [REPOSITORY[:TAG]]", at_most=1)
@switch("-a", "--all", "all_", help="Show all images, intermediate ones too.")
@switch("--digests", help="Show digests.")
@switch("--tree", help="Show the platforms that are here of each image.")
@listing_flags("Return only ids.")
@click.argument("repository", required=False)
@click.pass_obj
def ls(
    session: Session,
    repository: str | None,
    all_: bool,
    digests: bool,
    tree: bool,
    quiet: bool,
    filters: tuple[tuple[str, str], ...],
    no_trunc: bool,
    template: str,
) -> Result:
    """List images; the value is a DataFrame, with -q a list of ids. SIZE is in bytes underneath."""
    given = (*filters, ("reference", repository)) if repository else filters
    if tree and (quiet or template or digests or no_trunc):
        wrong = "--quiet" if quiet else "--format" if template else "--show-digest" if digests else "--no-trunc"
        raise UsageError(f"{wrong} is not yet supported with --tree", 1)
    query = {"all": all_, "filters": filter_map(given), **({"manifests": "1"} if tree else {})}
    found = session.engine.get("/images/json", query)
    if tree:
        return listing_result(image_tree.listing(found, Look("image tree")), None, "", [], {})
    titles = ["REPOSITORY", "TAG", *(["DIGEST"] if digests else []), "IMAGE ID", "CREATED", "SIZE"]
    look = Look("images", truncate=not no_trunc)
    rows = [row for image in found for row in _rows(image, digests)]
    listing = Listing(titles, rows, look)
    ids = [word(look.kind, "IMAGE ID", row["IMAGE ID"], look) for row in rows]
    return listing_result(listing, ids if quiet else None, template, [_fields(row, look) for row in rows], _HEADERS)


def _rows(image: Mapping[str, Any], digests: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each of the image's names; for an image without one, a row of `<none>`."""
    tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    by_repository = {
        name: digest for name, _, digest in (entry.partition("@") for entry in image.get("RepoDigests") or [])
    }
    named = [split_name(tag) for tag in tags]
    bare = [(repository, "<none>") for repository in by_repository if repository not in dict(named) and not tags]
    for repository, tag in named or bare or [("<none>", "<none>")]:
        yield {
            "REPOSITORY": repository,
            "TAG": tag,
            "DIGEST": by_repository.get(repository, "<none>"),
            "IMAGE ID": image["Id"],
            "CREATED": datetime.fromtimestamp(image.get("Created", 0), UTC),
            "SIZE": int(image.get("Size", 0)),
        }


def _fields(row: Mapping[str, Any], look: Look) -> dict[str, Any]:
    shown = {title: word(look.kind, title, value, look) for title, value in row.items()}
    return {
        "ID": shown["IMAGE ID"],
        "Repository": row["REPOSITORY"],
        "Tag": row["TAG"],
        "Digest": row["DIGEST"],
        "CreatedSince": shown["CREATED"],
        "CreatedAt": row["CREATED"].astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z"),
        "Size": shown["SIZE"],
        "VirtualSize": shown["SIZE"],
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
    }


@click.command("rm", cls=Command, usage="[OPTIONS] IMAGE [IMAGE...]", at_least=1)
@switch("-f", "--force", help="Remove it even when a stopped container uses it.")
@switch("--no-prune", help="Keep untagged parents.")
@click.argument("images", nargs=-1)
@click.pass_obj
def remove(session: Session, images: tuple[str, ...], force: bool, no_prune: bool) -> Result:
    """Remove images: names first, and what no name holds any more."""

    from dosirak.magics.engine import ApiFailure

    def removed(name: str) -> None:
        try:
            entries = session.engine.delete(f"/images/{name}", {"force": force, "noprune": no_prune})
        except ApiFailure as error:
            if not (force and error.status == 404):
                raise
            session.door.note(error.message)
            return
        for entry in entries or []:
            for what, subject in entry.items():
                session.door.say(f"{what}: {subject}")

    many.each(images, removed)
    return Result()


@click.command("tag", cls=Command, usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", at_least=2, at_most=2)
@click.argument("source")
@click.argument("target")
@click.pass_obj
def tag(session: Session, source: str, target: str) -> Result:
    """Give an image one more name; the value is the image."""
    repository, name = split_name(target)
    session.engine.post(f"/images/{source}/tag", {"repo": repository, "tag": name})
    from dosirak.magics.objects.image import Image

    return Result(Image.of(session.engine, target))


@click.command("history", cls=Command, usage="[OPTIONS] IMAGE", at_least=1, at_most=1)
@switch("-H", "--human", default=True, help="Sizes and dates for people, in a terminal.")
@listing_flags("Return only ids.")
@click.argument("image")
@click.pass_obj
def history(
    session: Session,
    image: str,
    human: bool,
    quiet: bool,
    filters: tuple[tuple[str, str], ...],
    no_trunc: bool,
    template: str,
) -> Result:
    """Show what made an image, the latest step first; the value is a DataFrame."""
    look = Look("history", truncate=not no_trunc)
    rows = [
        {
            "IMAGE": entry.get("Id") or "<missing>",
            "CREATED": datetime.fromtimestamp(entry.get("Created", 0), UTC),
            "CREATED BY": entry.get("CreatedBy", ""),
            "SIZE": int(entry.get("Size", 0)),
            "COMMENT": entry.get("Comment", ""),
        }
        for entry in session.engine.get(f"/images/{image}/history")
    ]
    listing = Listing(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"], rows, look)
    ids = [word(look.kind, "IMAGE", row["IMAGE"], look) for row in rows]
    fields = [_history_fields(row, look, human) for row in rows]
    headers = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY"}
    return listing_result(listing, ids if quiet else None, template, fields, headers)


def _history_fields(row: Mapping[str, Any], look: Look, human: bool) -> dict[str, Any]:
    shown = {title: word(look.kind, title, value, look) for title, value in row.items()}
    at = row["CREATED"].isoformat()
    return {
        "ID": shown["IMAGE"],
        "CreatedSince": shown["CREATED"] if human else at,
        "CreatedAt": at,
        "CreatedBy": shown["CREATED BY"],
        "Size": words.size(row["SIZE"]) if human else str(row["SIZE"]),
        "Comment": row["COMMENT"],
    }
