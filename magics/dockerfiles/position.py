"""Where in a Dockerfile a cursor stands: in which instruction, after which words; and what the file has said so far.

A file that is being written is seldom a right one: this reads what is there and refuses nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"#\s*escape\s*=\s*`\s*", re.IGNORECASE)
_DOCUMENT = re.compile(r"<<(-?)\s*([\"']?)(\w+)\2")
_TAKES_DOCUMENTS = ("RUN", "COPY", "ADD", "ONBUILD")


@dataclass(slots=True)
class Position:
    """`words` stand before the cursor on its logical line, `word` is the one at it, cut there ("" after a blank).

    `stages` are the stages so far, each by its number and, if it has one, its name; `variables` are what ARG and ENV
    named. `free` is True where no instruction stands: in a comment or a here-document.
    """

    words: list[str] = field(default_factory=list)
    word: str = ""
    stages: list[tuple[str, ...]] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    free: bool = False

    @property
    def sources(self) -> list[str]:
        """What the instruction may take files from: the stages before its own."""
        return [name for stage in self.stages[:-1] for name in stage]

    @property
    def bases(self) -> list[str]:
        """What a FROM here may stand on: the names of the stages so far."""
        return [name for stage in self.stages for name in stage[1:]]


def find(before: str) -> Position:
    """The position at the end of `before`, the text up to the cursor."""
    found = Position()
    lines = before.split("\n")
    escape = "`" if _ESCAPE.fullmatch(lines[0]) else "\\"
    logical = ""
    documents: list[tuple[str, bool]] = []
    for line in lines[:-1]:
        if documents:
            name, indented = documents[0]
            if (line.lstrip("\t") if indented else line) == name:
                documents.pop(0)
            continue
        if line.lstrip().startswith("#"):
            continue
        logical += line
        if logical.rstrip().endswith(escape):
            logical = logical.rstrip()[:-1] + " "
            continue
        _take(logical, found)
        documents = _documents(logical)
        logical = ""
    last = lines[-1]
    found.free = bool(documents) or last.lstrip().startswith("#")
    found.words = (logical + last).split()
    if found.words and not (logical + last)[-1].isspace():
        found.word = found.words.pop()
    return found


def _take(line: str, found: Position) -> None:
    """Notes what a finished line says to those that follow."""
    words = line.split()
    keyword = words[0].upper() if words else ""
    if keyword == "FROM":
        rest = [word for word in words[1:] if not word.startswith("--")]
        found.stages.append((str(len(found.stages)), *rest[2:3]))
    elif keyword in ("ARG", "ENV"):
        names = (word.partition("=")[0] for word in words[1:] if keyword == "ARG" or "=" in word or word is words[1])
        found.variables += [name for name in names if name.isidentifier() and name not in found.variables]


def _documents(line: str) -> list[tuple[str, bool]]:
    words = line.split(None, 1)
    if not words or words[0].upper() not in _TAKES_DOCUMENTS:
        return []
    return [(match[3], bool(match[1])) for match in _DOCUMENT.finditer(line)]
