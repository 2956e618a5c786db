"""The tree of a Dockerfile as it was written: instructions with their words, flags, heredocs and lines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines `first` to `last` of the file, 1-based, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Directive:
    """A parser directive at the top of the file: `# name=value`, its name in lower case."""

    name: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document attached to an instruction.

    `content` is as written, terminator excluded; `expand` is False when the word was quoted; `strip_tabs` is True
    for `<<-`; `lines` are the content's lines with the terminator's.
    """

    name: str
    content: str
    expand: bool
    strip_tabs: bool
    descriptor: int
    lines: Lines

    @property
    def text(self) -> str:
        """The content a reader of the document gets: leading tabs gone for `<<-`."""
        if not self.strip_tabs:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """One KEY=value of ENV or LABEL; `legacy` marks the old `KEY value` form."""

    key: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One instruction.

    `keyword` as written; `text` is the logical line: continuations joined, comments inside them gone, trimmed.
    `args` are the words (a JSON form's strings when `json`, else as the instruction splits them, quotes kept);
    `pairs` stand in their place for ENV and LABEL; `child` for ONBUILD. `comments` stand right above it.
    `lines` covers continuations and heredocs.
    """

    keyword: str
    text: str
    lines: Lines
    flags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    json: bool = False
    pairs: tuple[Pair, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    child: Node | None = None
    comments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The instruction's name in upper case."""
        return self.keyword.upper()

    @property
    def source(self) -> str:
        """Text that parses to this node again: the logical line, then the heredocs."""
        return "\n".join([self.text, *(heredoc.content + heredoc.name for heredoc in self.heredocs)])


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a person should know about the file, short of an error."""

    message: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file: its instructions in order, its directives, its escape character, and its own text and name."""

    nodes: tuple[Node, ...]
    directives: tuple[Directive, ...]
    escape: str
    remarks: tuple[Remark, ...]
    source: str
    filename: str
