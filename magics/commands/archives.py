"""`load`, `import` and `save`: images from archives and into them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from dosirak.magics.commands.output import deliver, target_of
from dosirak.magics.commands.pull import split_name
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DAEMON, DosirakError
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import LIST

_LOADED = ("Loaded image: ", "Loaded image ID: ")
_PIECE = 1 << 20


@click.command("load", cls=Command, usage="[OPTIONS]", at_most=0)
@flag("-i", "--input", "source", help="Read from this file instead of STDIN.")
@flag("--platform", help="Set the platform.")
@switch("-q", "--quiet", help="Suppress the load output.")
@click.pass_obj
def load(session: Session, source: str, platform: str, quiet: bool) -> Result:
    """Load images from an archive that `save` wrote; the value is the image, or their list."""
    loaded: list[str] = []
    with _open(session, source) as stream:
        headers = {"Content-Type": "application/x-tar"}
        query = {"quiet": "1" if quiet else "0", "platform": _platform(platform)}
        engine = session.engine
        response = engine.call("POST", "/images/load", query, data=_pieces(stream), headers=headers, stream=True)
        for event in engine.lines(response):
            if "error" in event:
                raise DosirakError(f"{DAEMON}{event['error']}")
            text = str(event.get("stream", "")).strip()
            names = [text.removeprefix(start) for start in _LOADED if text.startswith(start)]
            loaded += names
            if text and not names:
                session.door.note(text)
    from dosirak.magics.objects.image import Image

    images = [Image.of(session.engine, name) for name in loaded]
    return Result(images[0] if len(images) == 1 else images, "\n".join(f"Loaded image: {name}" for name in loaded))


@click.command("import", cls=Command, usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", at_least=1, at_most=2)
@flag("-c", "--change", "changes", type=LIST, many=True, help="Apply a Dockerfile instruction to the image.")
@flag("-m", "--message", help="Set a commit message.")
@flag("--platform", help="Set the platform.")
@click.argument("source")
@click.argument("name", required=False)
@click.pass_obj
def import_(
    session: Session, source: str, name: str | None, changes: tuple[str, ...], message: str, platform: str
) -> Result:
    """Make an image of a root file system's tarball; the value is the image."""
    repository, tag = split_name(name) if name else (None, None)
    query = {
        "fromSrc": source if source.startswith(("http://", "https://")) else "-",
        "repo": repository,
        "tag": tag,
        "message": message or None,
        "platform": platform or None,
        "changes": changes,
    }
    engine, identity = session.engine, ""
    with _open(session, "" if source == "-" else source) as stream:
        data = None if query["fromSrc"] != "-" else _pieces(stream)
        headers = {"Content-Type": "application/x-tar"}
        for event in engine.lines(
            engine.call("POST", "/images/create", query, data=data, headers=headers, stream=True)
        ):
            if "error" in event:
                raise DosirakError(f"{DAEMON}{event['error']}")
            identity = str(event.get("status", identity)).strip()
    from dosirak.magics.objects.image import Image

    return Result(Image.of(engine, name or identity), identity)


@click.command("save", cls=Command, usage="[OPTIONS] IMAGE [IMAGE...]", at_least=1)
@flag("-o", "--output", help="Write to a file, instead of STDOUT.")
@flag("--platform", help="Save only this platform's variant.")
@click.argument("images", nargs=-1)
@click.pass_obj
def save(session: Session, output: str, platform: str, images: tuple[str, ...]) -> Result:
    """Save images, with all their names, to an archive that `load` reads; docker, podman and skopeo do too."""
    target = target_of(session, output, "failed to save image")
    query = {"names": images, "platform": _platform(platform)}
    deliver(session, session.engine.call("GET", "/images/get", query, stream=True), target)
    return Result()


def _platform(text: str) -> str | None:
    """The API has it as a JSON document."""
    if not text:
        return None
    names = ("os", "architecture", "variant")
    return json.dumps(dict(zip(names, text.split("/"), strict=False)))


def _open(session: Session, source: str) -> IO[bytes]:
    if source.startswith(("http://", "https://")):
        return open(os.devnull, "rb")  # the engine fetches it
    if source:
        try:
            return Path(source).expanduser().open("rb")
        except OSError as error:
            raise DosirakError(f"open {source}: {os.strerror(error.errno or 0).lower()}") from error
    if session.door.escalates or os.isatty(0):
        raise DosirakError("requested load from stdin, but stdin is empty; name the archive with -i")
    return sys.stdin.buffer


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece
