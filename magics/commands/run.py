"""`run` and `create`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dosirak.magics.commands import foreground
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, UsageError
from dosirak.magics.grammar.create.body import Create, build
from dosirak.magics.grammar.create.flags import create_flags
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.streams import terminal

if TYPE_CHECKING:
    from dosirak.magics.engine import ApiFailure, Engine

_USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"


@click.command("run", cls=Command, usage=_USAGE, at_least=1, interspersed=False, body="stdin")
@switch("-d", "--detach", help="Run in the background and return the container.")
@switch("--sig-proxy", default=True, help="Pass signals to the process.")
@flag("--detach-keys", help="Keys that detach from the container (ctrl-p,ctrl-q).")
@create_flags
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_context
def run(ctx: click.Context, /, image: str, command: tuple[str, ...], **flags: Any) -> Result:
    """Create and run a new container from an image.

    In the foreground its output appears in the cell while it runs and the value is its exit status; with -d the
    value is the container. Interrupting the cell sends SIGINT to it, a second time (or 10 seconds later) SIGKILL.
    With a cell magic and -i, the cell's body is its standard input.
    """
    session: Session = ctx.obj
    if flags["detach"] and flags["attach"]:
        raise UsageError("conflicting options: cannot specify both --attach and --detach")
    detach_keys, keys = foreground.detach_keys(flags["detach_keys"])
    wanted = _translate(ctx, image, command, flags)
    identity = make(session, wanted)
    if flags["detach"]:
        foreground.start(session.engine, identity)
        from dosirak.magics.objects.container import Container

        return Result(Container.of(session.engine, identity), identity)
    options = foreground.Options(
        name=wanted.name or identity[:12],
        tty=flags["tty"],
        stdin=wanted.document["AttachStdin"],
        stdout=wanted.document["AttachStdout"],
        stderr=wanted.document["AttachStderr"],
        open_stdin=wanted.document["OpenStdin"],
        removed=flags["rm"],
        forward=flags["sig_proxy"],
        detach_keys=detach_keys,
        key_bytes=keys,
    )
    return foreground.run(session, identity, options)


@click.command("create", cls=Command, usage=_USAGE, at_least=1, interspersed=False)
@create_flags
@click.argument("image")
@click.argument("command", nargs=-1)
@click.pass_context
def create(ctx: click.Context, /, image: str, command: tuple[str, ...], **flags: Any) -> Result:
    """Create a new container without starting it; the value is the container."""
    session: Session = ctx.obj
    identity = make(session, _translate(ctx, image, command, flags), refused=1)
    from dosirak.magics.objects.container import Container

    return Result(Container.of(session.engine, identity), identity)


def _translate(ctx: click.Context, image: str, command: tuple[str, ...], flags: dict[str, Any]) -> Create:
    source = click.core.ParameterSource.COMMANDLINE
    given = frozenset(name for name in flags if ctx.get_parameter_source(name) is source)
    session: Session = ctx.obj
    if session.door.is_terminal:
        flags["console_size"] = terminal.size()
    return build(flags, image, list(command), given=given)


def make(session: Session, wanted: Create, *, refused: int = 125) -> str:
    """Create the container and return its id; an image that is missing is pulled first, as `--pull` says.

    Raises DosirakError with the exit status `refused`.
    """
    try:
        with _cidfile(wanted.cidfile) as write:
            answer = _create(session, wanted)
            for warning in answer.get("Warnings") or []:
                session.door.note(f"WARNING: {warning}")
            write(answer["Id"])
    except DosirakError as error:
        error.exit_code = refused
        raise
    return str(answer["Id"])


def _create(session: Session, wanted: Create) -> Mapping[str, Any]:
    from dosirak.magics.engine import ApiFailure

    def create() -> Mapping[str, Any]:
        answer: Mapping[str, Any] = session.engine.post("/containers/create", wanted.query, wanted.document)
        return answer

    if wanted.pull == "always":
        _pull(session, wanted)
    try:
        return create()
    except ApiFailure as error:
        if error.status != 404 or wanted.pull != "missing" or not _is_image(error):
            raise
    session.door.note(f"Unable to find image '{_with_tag(wanted.image)}' locally")
    _pull(session, wanted)
    return create()


@contextmanager
def _cidfile(path: str) -> Iterator[Callable[[str], object]]:
    """What writes a container's id into the file `path` ("": nowhere). The file is there before the container, and is
    gone again if there is none. Raises UsageError, as docker."""
    if not path:
        yield lambda identity: None
        return
    written = Path(path)
    try:
        written.touch(exist_ok=False)
    except FileExistsError:
        found = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise UsageError(found) from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise UsageError(f"failed to create the container ID file: open {path}: {reason}") from None
    try:
        yield written.write_text
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _is_image(error: ApiFailure) -> bool:
    return "no such image" in error.explanation.lower()


def _with_tag(name: str) -> str:
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


def _pull(session: Session, wanted: Create) -> None:
    from dosirak.magics.commands.pull import pull_image

    try:
        pull_image(session, wanted.image, wanted.platform, quiet=wanted.quiet)
    except DosirakError as error:
        raise DosirakError(f"{error.message}{_near(session.engine, wanted.image)}", 125) from error


def _near(engine: Engine, name: str) -> str:
    """Return "; did you mean …?" for the local image nearest to `name`."""
    from dosirak.magics.errors import suggestion

    names = {"dosirak/host"} if engine.is_dosirak else set()
    for image in engine.get("/images/json"):
        for tag in image.get("RepoTags") or []:
            names |= {tag, tag.removesuffix(":latest")}
    return suggestion(name, names)
