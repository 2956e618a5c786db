"""The instructions of a Dockerfile, typed: what each asks for, nothing expanded yet.

`expanded` gives the same instruction with its variables put in. RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK, ONBUILD
and MAINTAINER are left to the shell or taken as they are; ARG and EXPOSE have rules of their own (`plan`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from dosirak.engine.build.dockerfile.ast import Heredoc, Lines, Pair

Expander = Callable[[str], str]
"""Puts variables into one word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all have: the logical line as written and where it stands."""

    text: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Command:
    """A command line: words to execute (`shell` False), or one text for the shell."""

    args: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True)
class Inline:
    """A here-document as a source of COPY or ADD: a file `name` with that content."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM base [AS name]; `name` is in lower case."""

    base: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN, with the raw text of each `--mount`, to be read by `mounts.parse` once variables are known."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY, and what ADD has in common with it."""

    sources: tuple[str, ...]
    contents: tuple[Inline, ...]
    destination: str
    source_stage: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Copy):
    """ADD: a COPY that unpacks archives and fetches URLs. `unpack` None: what ADD does by itself."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """ENV key=value …"""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """LABEL key=value …"""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG name[=default] …; the value of a name without default is None."""

    args: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """CMD"""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT"""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """WORKDIR path"""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """USER user[:group]"""

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE port[-port][/protocol] …"""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME path …"""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """STOPSIGNAL signal"""

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK; `test` as the image config has it (NONE, CMD …, CMD-SHELL …), times in nanoseconds, 0: default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL ["…"]"""

    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """ONBUILD; `trigger` is the text of the instruction to run in a build on this image."""

    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER name (deprecated)"""

    name: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and what follows it, up to the next."""

    base: From
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A whole file: the ARGs before the first FROM, and the stages."""

    args: tuple[Arg, ...]
    stages: tuple[Stage, ...]


AnyInstruction = TypeVar("AnyInstruction", bound=Instruction)


def expanded(instruction: AnyInstruction, word: Expander, content: Expander) -> AnyInstruction:
    """The instruction with its variables put in: by `word` into words, by `content` into here-documents."""
    match instruction:
        case Env() | Label():
            return replace(instruction, pairs=_expand_pairs(instruction.pairs, word))
        case Copy():
            return _expand_copy(instruction, word, content)
        case Workdir():
            return replace(instruction, path=word(instruction.path))
        case User():
            return replace(instruction, user=word(instruction.user))
        case Volume():
            return replace(instruction, paths=tuple(map(word, instruction.paths)))
        case StopSignal():
            return replace(instruction, signal=word(instruction.signal))
    return instruction


AnyCopy = TypeVar("AnyCopy", bound=Copy)


def _expand_copy(copy: AnyCopy, word: Expander, content: Expander) -> AnyCopy:
    contents = (replace(file, content=content(file.content)) if file.expand else file for file in copy.contents)
    copy = replace(
        copy,
        sources=tuple(map(word, copy.sources)),
        contents=tuple(contents),
        destination=word(copy.destination),
        chown=word(copy.chown),
        chmod=word(copy.chmod),
    )
    return replace(copy, checksum=word(copy.checksum)) if isinstance(copy, Add) else copy


def _expand_pairs(pairs: tuple[Pair, ...], word: Expander) -> tuple[Pair, ...]:
    return tuple(Pair(word(pair.key), word(pair.value), pair.legacy) for pair in pairs)
