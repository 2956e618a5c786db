"""`build` and `%%dockerfile`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dosirak.magics.building import checks, context, inputs, outputs
from dosirak.magics.building.steps import Build
from dosirak.magics.commands.present import LazyFrame
from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, Interrupted, NotSupported, UsageError
from dosirak.magics.grammar.create.keyvalues import pair_map
from dosirak.magics.grammar.flags import Command, flag, switch
from dosirak.magics.grammar.values import EXTRA_HOST, INT, LABEL, LIST, SIZE, SWAP, ULIMIT, value_type

if TYPE_CHECKING:
    from dosirak.magics.building.outputs import Delivery
    from dosirak.magics.engine import Engine


def _argument(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {text}")
    return text


_FLAGS = [
    flag("-t", "--tag", "tags", type=LIST, many=True, help="Name the image, name[:tag]."),
    flag("--build-arg", "arguments", type=value_type("list", _argument), many=True, help="Set an ARG, name=value."),
    flag("--target", help="Build up to this stage."),
    switch("--no-cache", help="Do not use the cache."),
    switch("--pull", help="Always try to pull newer base images."),
    flag("--label", "labels", type=LABEL, many=True, help="Set a label on the image."),
    flag("--network", help="Network of the RUN steps: default, none, host."),
    flag("--add-host", "hosts", type=EXTRA_HOST, many=True, help="Add a line to /etc/hosts, host:ip."),
    flag("--platform", help="Set the platform."),
    switch("-q", "--quiet", help="Print only the image's id."),
    flag("--iidfile", help="Write the image's id to a file."),
    switch("--rm", default=True, help="Remove intermediate containers.", hidden=True),
    switch("--force-rm", help="Always remove intermediate containers.", hidden=True),
    flag("-m", "--memory", type=SIZE, default=0, help="Memory limit of the RUN steps."),
    flag("--memory-swap", type=SWAP, default=0, help="Memory plus swap."),
    flag("--shm-size", type=SIZE, default=0, help="Size of /dev/shm."),
    flag("-c", "--cpu-shares", type=INT, default=0, help="CPU shares."),
    flag("--cpu-period", type=INT, default=0, help="CFS period in microseconds."),
    flag("--cpu-quota", type=INT, default=0, help="CFS quota in microseconds."),
    flag("--cpuset-cpus", help="CPUs the steps may run on."),
    flag("--cpuset-mems", help="Memory nodes the steps may use."),
    flag("--ulimit", "ulimits", type=ULIMIT, many=True, help="Set a ulimit."),
    flag("--cache-from", "cache_from", type=LIST, many=True, help="Images to take cached layers from."),
    flag("--secret", "secrets", type=LIST, many=True, help="A secret for RUN --mount, id=NAME[,src=FILE|,env=NAME]."),
    flag("--ssh", "agents", type=LIST, many=True, help="An ssh agent for RUN --mount, default or NAME=SOCKET."),
    flag(
        "--build-context", "contexts", type=LIST, many=True, help="Another context, NAME=FOLDER|docker-image://IMAGE."
    ),
    flag("--no-cache-filter", type=LIST, many=True, help="Stages to build without the cache."),
    flag("-o", "--output", "outputs", type=LIST, many=True, help="Where the result goes, type=…,dest=… or a folder."),
    flag("--metadata-file", help="Write the image's digests to a file, as JSON."),
    switch("--check", help="Build nothing: tell what is wrong with the Dockerfile (--call=check)."),
    flag("--call", default="build", help="build, or check.", hidden=True),
    flag("--progress", default="auto", help="auto or plain.", hidden=True),
    *(
        flag(f"--{name}", name.replace("-", "_"), type=LIST, many=True, help="Not supported yet.", hidden=True)
        for name in ("cache-to",)
    ),
]
_TOLD = 1_000_000
"""Bytes of context from which on a view hears of it."""
_LACKING = ("cache_to",)
_REMOTE = ("http://", "https://", "git@", "git://", "github.com/")


def _build_flags(command: Any) -> Any:
    for option in reversed(_FLAGS):
        command = option(command)
    return command


@click.command("build", cls=Command, usage="[OPTIONS] PATH | -", at_least=1, at_most=1)
@flag("-f", "--file", "dockerfile", help="The Dockerfile (PATH/Dockerfile); - reads it from standard input.")
@_build_flags
@click.argument("path")
@click.pass_obj
def build(session: Session, /, path: str, dockerfile: str, **flags: Any) -> Result:
    """Build an image from a Dockerfile; the value is the image."""
    _refuse(flags)
    if path.startswith(_REMOTE):
        if flags["check"]:
            raise NotSupported(f"build --check {path}: not supported by Dosirak yet; give a folder or a Dockerfile")
        return _run(session, context.Source("", iter(()), dockerfile=dockerfile, remote=path), flags)
    if flags["check"]:
        return _check(session, path, dockerfile, flags)
    if path == "-":
        source = _from_input(session)
    elif dockerfile == "-":
        source = context.source(Path(path), "", _input_text(session))
    else:
        source = context.source(Path(path), *_located(Path(path), dockerfile))
    return _run(session, source, flags)


@click.command("dockerfile", cls=Command, usage="-t NAME [OPTIONS] [CONTEXT]", at_most=1, body="dockerfile")
@_build_flags
@click.argument("path", required=False)
@click.pass_obj
def dockerfile(session: Session, /, path: str | None, **flags: Any) -> Result:
    """Build an image; the cell's body is the Dockerfile, the value is the image.

    CONTEXT is what COPY and ADD see: the notebook's folder unless given. A line `RUN?` explains an instruction.
    """
    _refuse(flags)
    from dosirak.magics.dockerfiles import asked

    text = session.door.body()
    if (help := asked(text or f"{path or ''}?")) is not None:
        return Result(help, repr(help))
    if text is None:
        raise UsageError("%dockerfile: the Dockerfile is the cell's body: write %%dockerfile -t NAME, and it below", 1)
    if not text.strip():
        raise UsageError("%%dockerfile: the cell's body is empty: write the Dockerfile below the first line", 1)
    if flags["check"]:
        return _checked(session, text, "Dockerfile", checks.ignored(Path(path or "."), ""), flags)
    return _run(session, context.source(Path(path or "."), "", text), flags)


def _refuse(flags: dict[str, Any]) -> None:
    for name in _LACKING:
        if flags[name]:
            raise NotSupported(f"--{name.replace('_', '-')}: not supported by Dosirak yet")
    if flags["call"] not in ("build", "check"):
        raise NotSupported(f"--call={flags['call']}: not supported by Dosirak yet; build and check are")
    flags["check"] = flags["check"] or flags["call"] == "check"


def _check(session: Session, path: str, dockerfile: str, flags: dict[str, Any]) -> Result:
    """Tell what is wrong with the Dockerfile that a build of these would take."""
    if path == "-":
        return _checked(session, _lone_text(session), "Dockerfile", "", flags)
    folder = Path(path)
    if dockerfile == "-":
        return _checked(session, _input_text(session), "Dockerfile", checks.ignored(folder, ""), flags)
    name, text = _located(folder, dockerfile)
    text = checks.read(folder, name) if text is None else text
    return _checked(session, text, name or dockerfile, checks.ignored(folder, name), flags)


def _checked(session: Session, text: str, name: str, ignored: str, flags: dict[str, Any]) -> Result:
    report = checks.ask(session.engine, text, name, _arguments(flags), flags["target"], ignored)
    warnings, error = report["Warnings"], report["Error"]
    plain = checks.words(warnings, text, name)
    if error:
        if warnings:
            session.door.say(f"{plain}\n")
        raise DosirakError(error, 1)
    if session.door.escalates and not warnings:
        session.door.say(plain)
    return Result(LazyFrame(checks.listing(warnings)), plain, 1 if warnings else 0)


def _located(folder: Path, dockerfile: str) -> tuple[str, str | None]:
    """Return the Dockerfile's name within `folder`, or its text when it lies elsewhere."""
    if not dockerfile:
        return "Dockerfile", None
    absolute = Path(dockerfile).absolute()
    try:
        return str(absolute.relative_to(folder.absolute())), None
    except ValueError:
        pass
    try:
        return "", absolute.read_text()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise DosirakError(f"unable to read Dockerfile: open {dockerfile}: {reason}") from error


def _input_text(session: Session) -> str:
    import sys

    body = session.door.body()
    if body is None and session.door.escalates:
        raise UsageError("-f -: a cell has no standard input; use %%dockerfile", 1)
    return sys.stdin.read() if body is None else body


def _input_is_archive() -> bool:
    import sys

    reader: Any = sys.stdin.buffer
    head = reader.peek(263)
    return head[257:262] == b"ustar" or head[:2] in (b"\x1f\x8b", b"BZ") or head[:4] == b"\x28\xb5\x2f\xfd"


def _lone_text(session: Session) -> str:
    """Return the Dockerfile that standard input is."""
    text = None if not session.door.escalates and _input_is_archive() else _input_text(session)
    if text is None:
        raise NotSupported("build --check -: an archive can't be checked; give a folder or a Dockerfile")
    return text


def _from_input(session: Session) -> context.Source:
    """Return a context whose tar, or whose lone Dockerfile, comes from standard input."""
    import sys
    import tempfile

    if session.door.escalates:
        raise UsageError("build -: a cell has no standard input; use %%dockerfile", 1)
    if _input_is_archive():
        return context.Source("Dockerfile", iter(lambda: sys.stdin.buffer.read(1 << 20), b""))
    with tempfile.TemporaryDirectory() as empty:
        name, archive = context.stream(Path(empty), "", sys.stdin.read())
        return context.Source(name, iter(list(archive)))


def _arguments(flags: dict[str, Any]) -> dict[str, str | None]:
    """Return the build arguments; one without a value takes this process's variable of that name."""
    arguments: dict[str, str | None] = {}
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        arguments["SOURCE_DATE_EPOCH"] = epoch
    for argument in flags["arguments"]:
        key, equals, value = argument.partition("=")
        arguments[key] = value if equals else os.environ.get(key)
    return arguments


def _query(name: str, flags: dict[str, Any], delivery: Delivery, word: str | None) -> dict[str, Any]:
    return {
        "dockerfile": name,
        "t": delivery.names,
        "buildargs": _arguments(flags) or None,
        "target": flags["target"] or None,
        "nocache": flags["no_cache"],
        "pull": flags["pull"],
        "labels": pair_map(flags["labels"]) or None,
        "networkmode": flags["network"] or None,
        "extrahosts": tuple(flags["hosts"]),
        "platform": flags["platform"] or None,
        "rm": "1" if flags["rm"] else "0",
        "forcerm": flags["force_rm"],
        "memory": flags["memory"] or None,
        "memswap": flags["memory_swap"] or None,
        "shmsize": flags["shm_size"] or None,
        "cpushares": flags["cpu_shares"] or None,
        "cpuperiod": flags["cpu_period"] or None,
        "cpuquota": flags["cpu_quota"] or None,
        "cpusetcpus": flags["cpuset_cpus"] or None,
        "cpusetmems": flags["cpuset_mems"] or None,
        "ulimits": list(flags["ulimits"]) or None,
        "cachefrom": list(flags["cache_from"]) or None,
        "version": "1",
        "nocachefilter": [name for names in flags["no_cache_filter"] for name in names.split(",")] or None,
        "rewritetimestamp": delivery.rewrite,
        "dosirakinputs": word,
    }


def _run(session: Session, source: context.Source, flags: dict[str, Any]) -> Result:
    progress = Build(name=", ".join(flags["tags"]))
    quiet: bool = flags["quiet"]
    view = None if quiet else session.door.build_view()
    engine = session.engine
    delivery = outputs.Delivery(tuple(outputs.parse(text) for text in flags["outputs"]), tuple(flags["tags"]))
    try:
        word, in_place = inputs.send(engine, flags["secrets"], flags["agents"], source, flags["contexts"])
        name = source.dockerfile if in_place or source.remote else source.name
        delivery.begin(engine)
        archive = b"" if in_place or source.remote else _counted(source.archive, progress, view)
        query = _query(name, flags, delivery, word) | {"remote": source.remote or None}
        _follow(engine, query, archive, lambda message: _show(progress, view, message))
    except KeyboardInterrupt:
        progress.error = "interrupted"
        raise Interrupted("interrupted: the build was cancelled") from None
    except DosirakError as error:
        error.args = (source.words(error.message),)
        progress.error = progress.error or error.message
        raise
    finally:
        progress.finish()
        if view is not None:
            view.close(progress)
    if progress.error:
        raise DosirakError(source.words(progress.error), progress.code or 1)
    from dosirak.magics.objects.image import Image

    image = Image.of(engine, progress.image or progress.tags[0])
    if flags["iidfile"]:
        Path(flags["iidfile"]).write_text(str(image.id))
    if flags["metadata_file"]:
        found = engine.get(f"/images/{image.id}/json")
        outputs.write_metadata(flags["metadata_file"], found, delivery.names or delivery.tags)
    delivery.finish(engine, str(image.id))
    if delivery.outputs and not delivery.names:
        return Result(None, str(image.id) if quiet and not delivery.to_stdout else None)
    return Result(image, str(image.id) if quiet else None)


def _counted(archive: Iterator[bytes], progress: Build, view: Any) -> Iterator[bytes]:
    """Pass the context on, telling the view how much has gone."""
    for piece in archive:
        progress.sent += len(piece)
        if view is not None and progress.sent > _TOLD:
            view.update(progress, "")
        yield piece


def _show(progress: Build, view: Any, message: Any) -> None:
    text = progress.feed(message)
    if view is not None:
        view.update(progress, text)


def _follow(engine: Engine, query: dict[str, Any], archive: Any, take: Callable[[Any], None]) -> None:
    from dosirak.magics.logins import Logins

    headers = {"Content-Type": "application/x-tar", **Logins().headers()}
    response = engine.call("POST", "/build", query, data=archive, headers=headers, stream=True)
    for message in engine.lines(response):
        take(message)
