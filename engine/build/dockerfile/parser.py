"""Text → AST: lines, continuations, comments, parser directives, heredocs.

Semantics: BuildKit's parser (frontend/dockerfile/parser). Nothing is expanded or checked for sense here.
"""

from __future__ import annotations

import re
from dataclasses import replace

from dosirak.engine.build.dockerfile.ast import Directive, Dockerfile, Heredoc, Lines, Node, Remark
from dosirak.engine.build.dockerfile.heredoc import Opener, openers
from dosirak.engine.build.dockerfile.line import parse_line
from dosirak.engine.build.dockerfile.text import SPACES
from dosirak.engine.build.errors import DockerfileError

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*", re.DOTALL)
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")
_LONGEST_LINE = 65_535  # bytes, as Go's bufio.Scanner has it by default
_TAKES_HEREDOCS = ("ADD", "COPY", "RUN")


def parse(text: str | bytes, filename: str = "Dockerfile") -> Dockerfile:
    """Parses a Dockerfile; `filename` names it in errors.

    Raises DockerfileError, with the lines concerned, when the text is no Dockerfile. An instruction that does not
    exist is no error here: `convert` refuses it.
    """
    source = text.decode(errors="replace") if isinstance(text, bytes) else text
    source = source.removeprefix("\ufeff")
    parser = _Parser(source)
    try:
        nodes = parser.run()
        if not nodes:
            raise DockerfileError("file with no instructions")
    except DockerfileError as error:
        raise error.located(filename, source) from error.__cause__
    return Dockerfile(nodes, tuple(parser.directives), parser.escape, tuple(parser.remarks), source, filename)


class _Parser:
    """Reads physical lines one after the other; `position` is how many have been read."""

    def __init__(self, source: str) -> None:
        if "\0" in source:
            raise DockerfileError("a Dockerfile can't contain NUL bytes", source.count("\n", 0, source.index("\0")) + 1)
        self.lines: list[str] = re.findall(r"[^\n]*\n|[^\n]+", source)
        for number, line in enumerate(self.lines, 1):
            if 4 * len(line) > _LONGEST_LINE and len(line.rstrip("\n").encode(errors="replace")) > _LONGEST_LINE:
                raise DockerfileError(f"dockerfile line greater than max allowed size of {_LONGEST_LINE}", number)
        self.position = 0
        self.escape = "\\"
        self.directives: list[Directive] = []
        self.remarks: list[Remark] = []
        self.comments: list[str] = []
        self._header = True  # parser directives may still come

    def run(self) -> tuple[Node, ...]:
        nodes = []
        while self.position < len(self.lines):
            node = self._next()
            if node is not None:
                nodes.append(node)
                self.comments = []
        return tuple(nodes)

    def _next(self) -> Node | None:
        """The next instruction; None when the next line is a comment, a directive or blank."""
        line = self._read().lstrip(SPACES)
        if self._header and self._directive(line):
            return None
        if line.startswith("#"):
            self._comment(line)
            return None
        first = self.position
        logical = self._logical_line(line)
        if not logical.strip(SPACES):
            return None
        try:
            node = parse_line(logical, self.escape)
            found = openers(logical) if "<<" in logical and _takes_heredocs(node) else []
        except DockerfileError as error:
            raise DockerfileError(error.problem, first, self.position) from error.__cause__
        heredocs = tuple(self._heredoc(opener, first) for opener in found)
        place = Lines(first, self.position)
        return replace(node, lines=place, heredocs=heredocs, comments=tuple(self.comments))

    def _read(self) -> str:
        """One physical line without its end."""
        line = self.lines[self.position].rstrip("\r\n")
        self.position += 1
        return line

    def _directive(self, line: str) -> bool:
        """Takes the line if it is a parser directive; any other line ends the part of the file for them."""
        match = _DIRECTIVE.fullmatch(line[1:].lstrip(SPACES)) if line.startswith("#") else None
        name = match[1].lower() if match else ""
        if match is None or name not in _KNOWN_DIRECTIVES:
            self._header = False
            return False
        if any(known.name == name for known in self.directives):
            raise DockerfileError(f"only one {name} parser directive can be used", self.position)
        value = match[2]
        if name == "escape":
            if value not in ("\\", "`"):
                raise DockerfileError(f"invalid escape token '{value}' does not match ` or \\", self.position)
            self.escape = value
        self.directives.append(Directive(name, value, self.position))
        return True

    def _comment(self, line: str) -> None:
        comment = line[1:].strip(SPACES)
        self.comments = [*self.comments, comment] if comment else []

    def _logical_line(self, line: str) -> str:
        """The line with its continuations; comment lines and empty lines among them are dropped."""
        line, continues = self._continuation(line)
        parts = [line]
        blank_at = 0
        while continues and self.position < len(self.lines):
            line = self._read()
            start = line.lstrip(SPACES)
            if start.startswith("#"):
                continue
            if not start:
                blank_at = self.position
                continue
            line, continues = self._continuation(line)
            parts.append(line)
        logical = "".join(parts)
        if blank_at:
            place = Lines(self.position, self.position)
            self.remarks.append(Remark(f"Empty continuation line found in: {logical}", place))
        return logical

    def _continuation(self, line: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether there was one.

        An escape character right before it takes its meaning away.
        """
        bare = line.rstrip(" \t")
        if not bare.endswith(self.escape) or bare[:-1].endswith(self.escape):
            return line, False
        return bare[:-1], True

    def _heredoc(self, opener: Opener, first: int) -> Heredoc:
        content: list[str] = []
        begins = self.position + 1
        while self.position < len(self.lines):
            line = self.lines[self.position]
            end = self._read()
            if (end.lstrip("\t") if opener.strip_tabs else end) == opener.name:
                place = Lines(begins, self.position)
                text = "".join(content)
                return Heredoc(opener.name, text, opener.expand, opener.strip_tabs, opener.descriptor, place)
            content.append(line)
        raise DockerfileError(f"unterminated heredoc: no line {opener.name!r} follows", first, self.position)


def _takes_heredocs(node: Node) -> bool:
    inner = node.child if node.name == "ONBUILD" and node.child else node
    return inner.name in _TAKES_HEREDOCS and not inner.json
