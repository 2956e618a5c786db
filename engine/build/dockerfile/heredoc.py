"""Which words of an instruction open a here-document."""

from __future__ import annotations

import re

from dosirak.engine.build.dockerfile.expand import Mode, expand_words
from dosirak.engine.build.errors import DockerfileError

_OPENER = re.compile(r"(\d*)<<(-?)[\t\n\f\r ]*([^<]*)", re.DOTALL)
_NO_VARIABLES: dict[str, str] = {}


class Opener:
    """`<<EOF`, `<<-"EOF"`, `3<<EOF`: what the word asks for, before the content is read."""

    __slots__ = ("descriptor", "expand", "name", "strip_tabs")

    def __init__(self, name: str, expand: bool, strip_tabs: bool, descriptor: int) -> None:
        self.name = name
        self.expand = expand
        self.strip_tabs = strip_tabs
        self.descriptor = descriptor


def opener(word: str) -> Opener | None:
    """The here-document that `word` opens, or None when it opens none.

    Raises DockerfileError when the word after `<<` has an unclosed quote.
    """
    match = _OPENER.fullmatch(word)
    if match is None or not match[3]:
        return None
    names = expand_words(match[3], _NO_VARIABLES, Mode(skip_unset=True))
    if len(names) != 1:
        return None
    raw = expand_words(match[3], _NO_VARIABLES, Mode(skip_unset=True, raw_quotes=True))
    # A quote that is gone after processing quoted part of the word: then the content is literal.
    quoted = sum(map(names[0].count, "'\"")) != sum(map("".join(raw).count, "'\""))
    return Opener(names[0], not quoted, match[2] == "-", int(match[1] or 0))


def openers(line: str) -> list[Opener]:
    """The here-documents that a logical line opens, in order; none when the line is not made of words."""
    try:
        words = expand_words(line, _NO_VARIABLES, Mode(skip_unset=True, raw_quotes=True, raw_escapes=True))
    except DockerfileError:
        return []
    return [found for found in map(opener, words) if found is not None]
