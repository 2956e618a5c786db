"""`cp`, `diff`, `commit` and `export`: a container's files."""

# Path would drop the "/" and "/." at an end, which mean something here.
# ruff: noqa: PTH100, PTH110, PTH112, PTH113, PTH118, PTH120

from __future__ import annotations

import base64
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dosirak.magics.commands.output import deliver, target_of
from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.commands.pull import split_name
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError
from dosirak.magics.files import paths
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import LIST
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

if TYPE_CHECKING:
    import requests

_KINDS = {0: "C", 1: "A", 2: "D"}
_PIECE = 1 << 20
# Go's io/fs.FileMode, in which the engine tells what a path is.
_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27
_GO_OTHERS = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
_STAT = "X-Docker-Container-Path-Stat"


@click.command("cp", cls=Command, usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-", at_least=2, at_most=2)
@switch("-a", "--archive", help="Give what is copied in to the container's user.")
@switch("-L", "--follow-link", help="Follow a symbolic link at the end of SRC_PATH.")
@switch("-q", "--quiet", help="Say nothing; that is so anyway where nobody looks.")
@click.argument("source")
@click.argument("destination")
@click.pass_obj
def cp(session: Session, archive: bool, follow_link: bool, quiet: bool, source: str, destination: str) -> Result:
    """Copy files between a container and this side; "-" is a tar archive on standard input or output.

    The other way round: cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH.
    """
    if not source or not destination:
        raise DosirakError(f"{'source' if not source else 'destination'} can not be empty")
    out, inside = paths.split_argument(source)
    into, there = paths.split_argument(destination)
    if out and into:
        raise DosirakError("copying between containers is not supported")
    if out:
        return _copy_out(session, out, inside, destination, follow=follow_link)
    if into:
        return _copy_in(session, into, source, there, follow=follow_link, ids=archive)
    raise DosirakError("must specify at least one container source")


def _copy_out(session: Session, container: str, path: str, destination: str, *, follow: bool) -> Result:
    local = destination
    if destination != "-":
        local = paths.keep_ending(os.path.abspath(destination), destination)
        _check_output(local)
    rename = ""
    found = _stat(session, container, path) if follow else None
    if found is not None and found["mode"] & _GO_LINK:
        path, rename = paths.renamed(path, _target(path, found))
    response = session.engine.call("GET", f"/containers/{container}/archive", {"path": path}, stream=True)
    if destination == "-":
        deliver(session, response, None)
        return Result()
    is_directory = bool(_decode(response)["mode"] & _GO_DIRECTORY)
    source = paths.End(path, True, is_directory, rename)
    target, change = paths.prepare(source, paths.follow_destination(local))
    if rename:
        first, second = paths.rebase(paths.split_entry(path)[1], rename), change

        def change(name: str) -> str:
            return second(first(name))

    from dosirak.magics.files.unpack import unpack

    with response:
        unpack(io.BufferedReader(_Response(response), _PIECE), target, change)
    return Result()


def _copy_in(session: Session, container: str, source: str, path: str, *, follow: bool, ids: bool) -> Result:
    destination = _destination(session, container, path)
    if source == "-":
        if not destination.is_directory:
            raise DosirakError(f'destination "{container}:{path}" must be a directory')
        target, data = destination.path, _stdin(session)
    else:
        from dosirak.magics.files.pack import pack

        local = paths.follow_source(paths.keep_ending(os.path.abspath(source), source), follow=follow)
        target, change = paths.prepare(local, destination)
        data = pack(local.path, local.rename or paths.split_entry(local.path)[1], change)
    query = {"path": target, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if ids else None}
    headers = {"Content-Type": "application/x-tar"}
    try:
        session.engine.call("PUT", f"/containers/{container}/archive", query, data=data, headers=headers)
    except OSError as error:
        raise DosirakError(f"{error.filename or source}: {os.strerror(error.errno or 0).lower()}") from error
    return Result()


def _destination(session: Session, container: str, path: str) -> paths.End:
    """The end in the container; a symlink is followed, and what can't be looked at is taken for missing."""
    found = _stat(session, container, path)
    if found is not None and found["mode"] & _GO_LINK:
        path = _target(path, found)
        found = _stat(session, container, path)
    if found is None:
        return paths.End(path)
    if found["mode"] & _GO_OTHERS:
        raise DosirakError(f'destination "{container}:{path}" must be a directory or a regular file')
    return paths.End(path, True, bool(found["mode"] & _GO_DIRECTORY))


def _target(path: str, found: dict[str, Any]) -> str:
    target = str(found["linkTarget"])
    return target if target.startswith("/") else os.path.join(paths.split_entry(path)[0], target)


def _stat(session: Session, container: str, path: str) -> dict[str, Any] | None:
    try:
        response = session.engine.call("HEAD", f"/containers/{container}/archive", {"path": path})
    except DosirakError:
        return None
    return _decode(response)


def _decode(response: requests.Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(response.headers[_STAT]))
    return found


def _check_output(path: str) -> None:
    directory = os.path.dirname(paths.clean(path))
    if not os.path.exists(directory):
        raise DosirakError(f'invalid output path: directory "{directory}" does not exist')
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise DosirakError(f'invalid output path: "{path}" must be a directory or a regular file')


class _Response(io.RawIOBase):
    """An answer's body as a file."""

    def __init__(self, response: requests.Response) -> None:
        self._pieces = response.iter_content(_PIECE)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        view = memoryview(buffer).cast("B")
        data = self._rest[: len(view)]
        view[: len(data)] = data
        self._rest = self._rest[len(data) :]
        return len(data)


def _stdin(session: Session) -> Iterator[bytes]:
    if session.door.escalates:
        raise DosirakError("a cell has no archive on its standard input; name a file or directory")
    stream = sys.stdin.buffer
    while piece := stream.read(_PIECE):
        yield piece


@click.command("diff", cls=Command, usage="CONTAINER", at_least=1, at_most=1)
@click.argument("container")
@click.pass_obj
def diff(session: Session, container: str) -> Result:
    """Show what a container has changed of its image's files; the value is a DataFrame.

    CHANGE is A for what was added, C for what was changed, D for what was deleted.
    """
    found = session.engine.get(f"/containers/{container}/changes") or []
    rows = [{"CHANGE": _KINDS.get(change["Kind"], ""), "PATH": change["Path"]} for change in found]
    lines = "\n".join(f"{row['CHANGE']} {row['PATH']}" for row in rows)
    return Result(LazyFrame(Listing(["CHANGE", "PATH"], rows, Look("changes"))), lines or None)


@click.command(
    "commit", cls=Command, usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", at_least=1, at_most=2, interspersed=False
)
@flag("-a", "--author", help="Name the author.")
@flag("-c", "--change", "changes", type=LIST, many=True, help="Apply a Dockerfile instruction to the image.")
@flag("-m", "--message", help="Set a commit message.")
@switch("-p", "--pause", default=True, help="Pause the container meanwhile.")
@click.argument("container")
@click.argument("name", required=False)
@click.pass_obj
def commit(
    session: Session,
    author: str,
    changes: tuple[str, ...],
    message: str,
    pause: bool,
    container: str,
    name: str | None,
) -> Result:
    """Make an image of a container; the value is the image."""
    repository, tag = split_name(name) if name else (None, None)
    query = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "author": author or None,
        "comment": message or None,
        "changes": changes,
        "pause": None if pause else "0",
    }
    identity = str(session.engine.post("/commit", query)["Id"])
    from dosirak.magics.objects.image import Image

    return Result(Image.of(session.engine, name or identity), identity)


@click.command("export", cls=Command, usage="[OPTIONS] CONTAINER", at_least=1, at_most=1)
@flag("-o", "--output", help="Write to this file instead of STDOUT.")
@click.argument("container")
@click.pass_obj
def export(session: Session, output: str, container: str) -> Result:
    """Write a container's root file system as a tar archive."""
    target = target_of(session, output, "failed to export container")
    response = session.engine.call("GET", f"/containers/{container}/export", stream=True)
    deliver(session, response, target)
    return Result()
