"""Path patterns as moby's patternmatcher has them: `*`, `?`, `[a-z]` within a name, `**` across names."""

from __future__ import annotations

import re
from collections.abc import Callable

from dosirak.engine.errors import InvalidRequest

Match = Callable[[str], bool]

_STAR, _ANY, _GLOBSTAR, _ALL = "*", "?", "**/", "**"
_MOST_QUANTIFIERS = 3
_LONGEST_BY_REGEX = 256


class Token:
    """One position of a pattern: a wildcard (`kind`), or a character out of `[…]` or a literal (`regex`)."""

    __slots__ = ("kind", "matches", "regex")

    def __init__(self, kind: str, regex: str) -> None:
        self.kind = kind
        self.regex = regex
        self.matches = re.compile(regex, re.DOTALL).fullmatch


def compile_pattern(pattern: str) -> Match:
    """A function telling whether a whole path ("a/b", no leading slash) matches.

    Raises InvalidRequest ("syntax error in pattern") when a `[` is not closed or a `\\` escapes nothing.
    """
    tokens = tokenize(pattern)
    literal = "".join(_literal(token) for token in tokens[1:]) if _is_plain(tokens[1:]) else ""
    if _is_plain(tokens):
        whole = "".join(map(_literal, tokens))
        return lambda path: path == whole
    if tokens[-1].kind == _ALL and _is_plain(tokens[:-1]):
        prefix = "".join(map(_literal, tokens[:-1]))
        return lambda path: path.startswith(prefix)
    if pattern.startswith("**/") and literal:
        return lambda path: path == literal or path.endswith(f"/{literal}")
    if tokens[0].kind == _GLOBSTAR and literal:  # `**x` has no slash: any path that ends in x
        return lambda path: path.endswith(literal)
    return _by_regex(tokens)


def match_name(pattern: str) -> Match:
    """A function telling whether a path matches `pattern` as Go's filepath.Match does: `*` never crosses a slash.

    `**` is the same as `*` here. Raises InvalidRequest as `compile_pattern`.
    """
    return _by_regex(tokenize(pattern, globstar=False))


def tokenize(pattern: str, globstar: bool = True) -> list[Token]:
    """The pattern's tokens. Raises InvalidRequest when it is malformed."""
    tokens: list[Token] = []
    position = 0
    while position < len(pattern):
        token, position = _token(pattern, position, globstar)
        tokens.append(token)
    return tokens


def _token(pattern: str, position: int, globstar: bool) -> tuple[Token, int]:
    char = pattern[position]
    if char == "*" and globstar and pattern.startswith("**", position):
        end = position + 2
        if pattern.startswith("/", end):
            end += 1
        last = end == len(pattern)
        return Token(_ALL, ".*") if last else Token(_GLOBSTAR, "(?:.*/)?"), end
    if char == "*":
        return Token(_STAR, "[^/]*"), position + 1
    if char == "?":
        return Token(_ANY, "[^/]"), position + 1
    if char == "[":
        return _character_class(pattern, position)
    if char == "\\":
        if position + 1 == len(pattern):
            raise _malformed(pattern)
        return Token("", re.escape(pattern[position + 1])), position + 2
    return Token("", re.escape(char)), position + 1


def _character_class(pattern: str, position: int) -> tuple[Token, int]:
    """`[abc]`, `[a-z]`, `[^a]`; a `\\` takes a character's meaning away."""
    start = position + 1
    negated = pattern.startswith("^", start)
    position = start + negated
    ranges: list[str] = []
    while not (pattern.startswith("]", position) and ranges):
        low, position = _class_character(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_character(pattern, position + 1)
        if high < low:
            raise _malformed(pattern)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    inner = "".join(ranges)
    return Token("[", f"[^{inner}/]" if negated else f"(?!/)[{inner}]"), position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char == "\\":
        position += 1
        char = pattern[position : position + 1]
    elif char in ("-", "]"):
        raise _malformed(pattern)
    if not char:
        raise _malformed(pattern)
    return char, position + 1


def _malformed(pattern: str) -> InvalidRequest:
    return InvalidRequest(f"syntax error in pattern: {pattern}")


def _is_plain(tokens: list[Token]) -> bool:
    return not any(token.kind for token in tokens)


def _literal(token: Token) -> str:
    return token.regex[-1]


def _by_regex(tokens: list[Token]) -> Match:
    """Few wildcards on short paths: a regular expression. More could backtrack without end: states side by side."""
    quantifiers = sum(token.kind in (_STAR, _GLOBSTAR, _ALL) for token in tokens)
    regex = re.compile("".join(token.regex for token in tokens), re.DOTALL)

    def match(path: str) -> bool:
        if quantifiers <= _MOST_QUANTIFIERS and len(path) <= _LONGEST_BY_REGEX:
            return regex.fullmatch(path) is not None
        return _match_states(tokens, path)

    return match


def _match_states(tokens: list[Token], path: str) -> bool:
    """All states of the match advance together over the path: its time is the product of the two lengths at most.

    A state is (token, inside): `inside` is True once `**/` has taken a character, and then needs a slash to leave.
    """
    states = _closure({(0, False)}, tokens)
    for char in path:
        advanced: set[tuple[int, bool]] = set()
        for index, inside in states:
            if index == len(tokens):
                continue
            token = tokens[index]
            if token.kind == _GLOBSTAR:
                advanced.add((index, True))
                if char == "/":
                    advanced.add((index + 1, False))
            elif token.kind == _ALL or (token.kind == _STAR and char != "/"):
                advanced.add((index, inside))
            elif token.kind != _STAR and token.matches(char):
                advanced.add((index + 1, False))
        states = _closure(advanced, tokens)
        if not states:
            return False
    return (len(tokens), False) in states


def _closure(states: set[tuple[int, bool]], tokens: list[Token]) -> set[tuple[int, bool]]:
    """With every state the ones that need no character to get to."""
    closed = set(states)
    for index, inside in states:
        while not inside and index < len(tokens) and tokens[index].kind in (_STAR, _GLOBSTAR, _ALL):
            index += 1
            closed.add((index, False))
    return closed
