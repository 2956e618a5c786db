"""AST → typed instructions. Semantics and wording: BuildKit's frontend/dockerfile/instructions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Dockerfile, Node
from dosirak.engine.build.dockerfile.flags import Flags, Kind
from dosirak.engine.build.dockerfile.health import healthcheck
from dosirak.engine.build.dockerfile.heredoc import opener
from dosirak.engine.build.dockerfile.mounts import NETWORKS, SECURITY, check_mount
from dosirak.engine.build.dockerfile.place import placed
from dosirak.engine.build.dockerfile.text import suggestion, trim
from dosirak.engine.build.errors import DockerfileError

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_COPY_FLAGS = {
    "from": Kind.VALUE,
    "chown": Kind.VALUE,
    "chmod": Kind.VALUE,
    "link": Kind.SWITCH,
    "parents": Kind.SWITCH,
    "exclude": Kind.VALUES,
}
_ADD_FLAGS = {
    "chown": Kind.VALUE,
    "chmod": Kind.VALUE,
    "link": Kind.SWITCH,
    "keep-git-dir": Kind.SWITCH,
    "checksum": Kind.VALUE,
    "unpack": Kind.SWITCH,
    "exclude": Kind.VALUES,
}
_HEALTH_TIMES = ("interval", "timeout", "start-period", "start-interval")
_HEALTH_FLAGS = dict.fromkeys((*_HEALTH_TIMES, "retries"), Kind.VALUE)


def program(file: Dockerfile) -> typed.Program:
    """The stages of a parsed file.

    Raises DockerfileError, located, for the first instruction that is unknown, malformed or out of place.
    """
    args: list[typed.Arg] = []
    stages: list[tuple[typed.From, list[typed.Instruction]]] = []
    for node in file.nodes:
        with placed(file, node.lines):
            made = instruction(node)
            if isinstance(made, typed.From):
                stages.append((made, []))
            elif stages:
                stages[-1][1].append(made)
            elif isinstance(made, typed.Arg):
                args.append(made)
            else:
                raise DockerfileError("no build stage in current context: a FROM has to come first")
    if not stages:
        last = file.nodes[-1].lines.last
        raise DockerfileError("no build stage: a FROM is missing", last, last, file.filename, file.source)
    return typed.Program(tuple(args), tuple(typed.Stage(base, tuple(rest)) for base, rest in stages))


def instruction(node: Node) -> typed.Instruction:
    """One node, typed. Raises DockerfileError without a place: the caller knows it."""
    convert = _CONVERTERS.get(node.name)
    if convert is None:
        hint = suggestion(node.keyword, map(str.lower, _CONVERTERS), ignore_case=True)
        raise DockerfileError(f"unknown instruction: {node.keyword}{hint}")
    if any("\0" in word for word in node.args):
        raise DockerfileError(f"{node.name} can't take a NUL character: no command or path can hold one")
    return convert(node)


def _no_flags(node: Node) -> None:
    Flags(node.flags, {})


def _at_least_one(node: Node) -> None:
    if not node.args and not node.pairs:
        raise DockerfileError(f"{node.name} requires at least one argument")


def _exactly_one(node: Node) -> str:
    if len(node.args) != 1:
        raise DockerfileError(f"{node.name} requires exactly one argument")
    _no_flags(node)
    return node.args[0]


def _from(node: Node) -> typed.From:
    name = ""
    if len(node.args) == 3 and node.args[1].lower() == "as":
        name = node.args[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            problem = (
                f'invalid name for build stage: "{node.args[2]}", name can\'t start with a number or contain symbols'
            )
            raise DockerfileError(problem)
    elif len(node.args) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    flags = Flags(node.flags, {"platform": Kind.VALUE})
    platform = flags.value("platform")
    return typed.From(text=node.text, lines=node.lines, base=node.args[0], name=name, platform=platform)


def _run(node: Node) -> typed.Run:
    flags = Flags(node.flags, {"mount": Kind.VALUES, "network": Kind.VALUE, "security": Kind.VALUE})
    network, security = flags.value("network", "default"), flags.value("security", "sandbox")
    if network not in NETWORKS:
        raise DockerfileError(f'invalid network mode "{network}"')
    if security not in SECURITY:
        raise DockerfileError(f'security "{security}" is not valid')
    mounts = flags.values("mount")
    for mount in mounts:
        check_mount(mount)
    if not node.args:
        raise DockerfileError("RUN requires at least one argument")
    return typed.Run(
        text=node.text,
        lines=node.lines,
        command=_command(node),
        heredocs=node.heredocs,
        mounts=mounts,
        network=network,
        security=security,
    )


def _copy(node: Node) -> typed.Copy:
    sources, contents, destination = _sources(node)
    flags = Flags(node.flags, _COPY_FLAGS)
    return typed.Copy(
        text=node.text,
        lines=node.lines,
        sources=sources,
        contents=contents,
        destination=destination,
        source_stage=flags.value("from"),
        chown=flags.value("chown"),
        chmod=flags.value("chmod"),
        link=bool(flags.switch("link")),
        parents=bool(flags.switch("parents")),
        excludes=flags.values("exclude"),
    )


def _add(node: Node) -> typed.Add:
    sources, contents, destination = _sources(node)
    flags = Flags(node.flags, _ADD_FLAGS)
    return typed.Add(
        text=node.text,
        lines=node.lines,
        sources=sources,
        contents=contents,
        destination=destination,
        chown=flags.value("chown"),
        chmod=flags.value("chmod"),
        link=bool(flags.switch("link")),
        excludes=flags.values("exclude"),
        checksum=flags.value("checksum"),
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack"),
    )


def _sources(node: Node) -> tuple[tuple[str, ...], tuple[typed.Inline, ...], str]:
    if len(node.args) < 2:
        problem = f"{node.name} requires at least two arguments, but only one was provided"
        raise DockerfileError(f"{problem}. Destination could not be determined")
    *words, destination = node.args
    if not node.json and opener(destination):
        raise DockerfileError(f"{node.name} cannot accept a heredoc as a destination")
    documents = {document.name: document for document in node.heredocs}
    sources: list[str] = []
    contents: list[typed.Inline] = []
    for word in words:
        found = None if node.json else opener(word)
        document = documents.get(found.name) if found else None
        if document:
            contents.append(typed.Inline(document.name, document.text, document.expand))
        else:
            sources.append(word)
    return tuple(sources), tuple(contents), destination


def _env(node: Node) -> typed.Env:
    _check_pairs(node)
    return typed.Env(text=node.text, lines=node.lines, pairs=node.pairs)


def _label(node: Node) -> typed.Label:
    _check_pairs(node)
    return typed.Label(text=node.text, lines=node.lines, pairs=node.pairs)


def _check_pairs(node: Node) -> None:
    _no_flags(node)
    _at_least_one(node)
    if not all(pair.key for pair in node.pairs):
        raise DockerfileError(f"{node.name} names can not be blank")


def _arg(node: Node) -> typed.Arg:
    _no_flags(node)
    _at_least_one(node)
    args: list[tuple[str, str | None]] = []
    for word in node.args:
        name, equals, value = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank")
        args.append((name, value if equals else None))
    return typed.Arg(text=node.text, lines=node.lines, args=tuple(args))


def _cmd(node: Node) -> typed.Cmd:
    _no_flags(node)
    return typed.Cmd(text=node.text, lines=node.lines, command=_command(node))


def _entrypoint(node: Node) -> typed.Entrypoint:
    _no_flags(node)
    return typed.Entrypoint(text=node.text, lines=node.lines, command=_command(node))


def _command(node: Node) -> typed.Command:
    return typed.Command(node.args, shell=not node.json)


def _workdir(node: Node) -> typed.Workdir:
    return typed.Workdir(text=node.text, lines=node.lines, path=_exactly_one(node))


def _user(node: Node) -> typed.User:
    return typed.User(text=node.text, lines=node.lines, user=_exactly_one(node))


def _stop_signal(node: Node) -> typed.StopSignal:
    return typed.StopSignal(text=node.text, lines=node.lines, signal=_exactly_one(node))


def _maintainer(node: Node) -> typed.Maintainer:
    return typed.Maintainer(text=node.text, lines=node.lines, name=_exactly_one(node))


def _expose(node: Node) -> typed.Expose:
    _at_least_one(node)
    _no_flags(node)
    return typed.Expose(text=node.text, lines=node.lines, ports=tuple(sorted(node.args)))


def _volume(node: Node) -> typed.Volume:
    _at_least_one(node)
    _no_flags(node)
    paths = tuple(map(trim, node.args))
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return typed.Volume(text=node.text, lines=node.lines, paths=paths)


def _shell(node: Node) -> typed.Shell:
    _no_flags(node)
    _at_least_one(node)
    if not node.json:
        raise DockerfileError(f"SHELL requires the arguments to be in JSON form: {node.text}")
    return typed.Shell(text=node.text, lines=node.lines, shell=node.args)


def _onbuild(node: Node) -> typed.OnBuild:
    if node.child is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    _no_flags(node)
    trigger = node.child.name
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    instruction(replace(node.child, heredocs=node.heredocs))  # a wrong trigger is told now, not in a later build
    text = "\n".join([node.child.text, *(document.content + document.name for document in node.heredocs)])
    return typed.OnBuild(text=node.text, lines=node.lines, trigger=text)


_CONVERTERS: dict[str, Callable[[Node], typed.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
