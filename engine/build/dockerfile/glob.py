"""Shell patterns of `${name#pattern}` and its kin: `*`, `?` and literals, matched in linear memory without regexes.

A Dockerfile is hostile input: a backtracking regular expression would let one line hold up the engine.
"""

from __future__ import annotations

from dosirak.engine.build.errors import DockerfileError

_STAR = "*"
_ANY = "?"
_MOST_STEPS = 2_000_000
Token = tuple[str, bool]  # (character, is a wildcard)


def compile_pattern(pattern: str) -> list[Token]:
    """The pattern's tokens. `\\*`, `\\?`, `\\\\` are literals, `\\}` and `\\/` too (the braces' own escapes).

    Raises DockerfileError on any other escape.
    """
    tokens: list[Token] = []
    characters = iter(pattern)
    for char in characters:
        if char != "\\":
            tokens.append((char, char in (_STAR, _ANY)))
            continue
        escaped = next(characters, "")
        if not escaped or escaped not in "*?\\}/":
            problem = f"invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'"
            raise DockerfileError(problem)
        tokens.append((escaped, False))
    return tokens


def trim_prefix(value: str, pattern: str, longest: bool) -> str:
    """`value` without the shortest (or longest) beginning that matches."""
    return value[_match_end(value, 0, compile_pattern(pattern), longest)[0] or 0 :]


def trim_suffix(value: str, pattern: str, longest: bool) -> str:
    """`value` without the shortest (or longest) end that matches."""
    mirrored = compile_pattern(pattern)[::-1]
    cut = _match_end(value[::-1], 0, mirrored, longest)[0] or 0
    return value[: len(value) - cut]


def substitute(value: str, pattern: str, replacement: str, everywhere: bool) -> str:
    """`value` with the first longest match (or every one) replaced, from the left.

    Raises DockerfileError when that takes too long: its time may grow with the square of the value's length.
    """
    tokens = compile_pattern(pattern)
    parts: list[str] = []
    position, copied, previous_end, steps = 0, 0, -1, 0
    while position <= len(value):
        end, taken = _match_end(value, position, tokens, longest=True)
        steps += taken
        if steps > _MOST_STEPS:
            raise DockerfileError(f"pattern ({pattern}) in substitution takes too long on {len(value)} characters")
        if end is None or end == position == previous_end:  # an empty match right after a match is none
            position += 1
            continue
        parts += [value[copied:position], replacement]
        copied = previous_end = end
        position = end if end > position else position + 1
        if not everywhere:
            break
    return "".join([*parts, value[copied:]])


def _match_end(value: str, start: int, tokens: list[Token], longest: bool) -> tuple[int | None, int]:
    """Where a match beginning at `start` ends, and the steps that took.

    All states of the match advance together over the value's characters, so nothing is tried twice.
    """
    states = _skip_stars({0}, tokens)
    found = None
    position = start
    steps = 1
    while True:
        if len(tokens) in states:
            found = position
            if not longest:
                return found, steps
        if position == len(value) or not states:
            return found, steps
        steps += len(states)
        char = value[position]
        advanced = set()
        for state in states:
            if state == len(tokens):
                continue
            wanted, wild = tokens[state]
            if wild and char == "\n":  # wildcards stay within a line, as in BuildKit
                continue
            if wild and wanted == _STAR:
                advanced.add(state)
            elif wild or wanted == char:
                advanced.add(state + 1)
        states = _skip_stars(advanced, tokens)
        position += 1


def _skip_stars(states: set[int], tokens: list[Token]) -> set[int]:
    closed = set(states)
    for state in states:
        while state < len(tokens) and tokens[state] == (_STAR, True):
            state += 1
            closed.add(state)
    return closed
