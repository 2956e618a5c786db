"""One logical line → node: the keyword, its flags, and the words as that instruction splits them."""

from __future__ import annotations

import json
from collections.abc import Callable

from dosirak.engine.build.dockerfile.ast import Lines, Node, Pair
from dosirak.engine.build.dockerfile.text import BLANKS, SPACES, split_quoted, trim
from dosirak.engine.build.errors import DockerfileError

_NOWHERE = Lines(0, 0)


def parse_line(line: str, escape: str) -> Node:
    """Parses one logical line; the node's lines are (0, 0), for the caller to set.

    Raises DockerfileError when the words do not have the instruction's form.
    """
    text = trim(line)
    keyword, _, rest = _cut_blanks(text)
    flags, rest = _split_flags(rest, escape)
    rest = trim(rest)
    read = _READERS.get(keyword.upper(), _read_nothing)
    return read(_Line(keyword, text, rest, flags, escape))


class _Line:
    __slots__ = ("escape", "flags", "keyword", "rest", "text")

    def __init__(self, keyword: str, text: str, rest: str, flags: tuple[str, ...], escape: str) -> None:
        self.keyword = keyword
        self.text = text
        self.rest = rest
        self.flags = flags
        self.escape = escape

    def node(
        self,
        args: tuple[str, ...] = (),
        json: bool = False,
        pairs: tuple[Pair, ...] = (),
        child: Node | None = None,
    ) -> Node:
        return Node(self.keyword, self.text, _NOWHERE, self.flags, args, json, pairs, (), child)


def _cut_blanks(text: str) -> tuple[str, str, str]:
    match = BLANKS.search(text)
    return (text, "", "") if match is None else (text[: match.start()], match[0], text[match.end() :])


def _split_flags(rest: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The leading `--name=value` words with their quotes taken off, and what follows; `--` ends them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(rest) and rest[position] in SPACES:
            position += 1
        if not rest.startswith("--", position):
            return tuple(flags), rest[position:]
        word, position = _unquoted_word(rest, position, escape)
        if word == "--":
            return tuple(flags), rest[position:]
        flags.append(word)


def _unquoted_word(text: str, position: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while position < len(text):
        char = text[position]
        if not quote and char in SPACES:
            break
        position += 1
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char != escape:
            word.append(char)
        elif position < len(text):
            word.append(text[position])
            position += 1
    return "".join(word), position


def _read_nothing(line: _Line) -> Node:
    return line.node()


def _read_whole(line: _Line) -> Node:
    """The rest of the line is one word."""
    return line.node((line.rest,) if line.rest else ())


def _read_blanks(line: _Line) -> Node:
    """Words between blanks; quotes mean nothing to the splitting."""
    return line.node(tuple(BLANKS.split(line.rest)) if line.rest else ())


def _read_quoted(line: _Line) -> Node:
    return line.node(tuple(split_quoted(line.rest, line.escape)))


def _read_command(line: _Line) -> Node:
    """A JSON array of strings, or the whole line for a shell."""
    strings = _json_strings(line.rest)
    return _read_whole(line) if strings is None else line.node(strings, json=True)


def _read_list(line: _Line) -> Node:
    """A JSON array of strings, or words between blanks."""
    strings = _json_strings(line.rest)
    return _read_blanks(line) if strings is None else line.node(strings, json=True)


def _read_pairs(line: _Line) -> Node:
    """`key=value …`, or the old `key the whole rest`."""
    words = split_quoted(line.rest, line.escape)
    if not words:
        return line.node()
    if "=" not in words[0]:
        key, blanks, value = _cut_blanks(line.rest)
        if not blanks:
            raise DockerfileError(f"{line.keyword.upper()} must have two arguments")
        return line.node(pairs=(Pair(key, value, legacy=True),))
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            problem = f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            raise DockerfileError(problem)
        pairs.append(Pair(key, value))
    return line.node(pairs=tuple(pairs))


def _read_healthcheck(line: _Line) -> Node:
    """The kind of check, then a command."""
    kind = line.rest.split(None, 1)[0] if line.rest else ""
    rest = line.rest[len(kind) :].lstrip(SPACES)
    strings = _json_strings(rest)
    if strings is not None:
        return line.node((kind, *strings), json=True)
    return line.node(tuple(word for word in (kind, rest) if word))


def _read_onbuild(line: _Line) -> Node:
    """An instruction of its own."""
    if _cut_blanks(line.rest)[0].upper() == "ONBUILD":  # refused here: the nesting could be as deep as the line is long
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    return line.node(child=parse_line(line.rest, line.escape) if line.rest else None)


def _json_strings(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when the text is none, and so is meant for a shell."""
    if not text.startswith("["):
        return None
    try:
        array = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in array):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(item.encode(errors="surrogatepass").decode(errors="replace") for item in array)


def _refuse(_: str) -> None:
    raise ValueError("no JSON")


_READERS: dict[str, Callable[[_Line], Node]] = {
    "ADD": _read_list,
    "ARG": _read_quoted,
    "CMD": _read_command,
    "COPY": _read_list,
    "ENTRYPOINT": _read_command,
    "ENV": _read_pairs,
    "EXPOSE": _read_blanks,
    "FROM": _read_blanks,
    "HEALTHCHECK": _read_healthcheck,
    "LABEL": _read_pairs,
    "MAINTAINER": _read_whole,
    "ONBUILD": _read_onbuild,
    "RUN": _read_command,
    "SHELL": _read_command,
    "STOPSIGNAL": _read_whole,
    "USER": _read_whole,
    "VOLUME": _read_list,
    "WORKDIR": _read_whole,
}
