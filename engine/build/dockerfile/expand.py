"""Words: quotes taken off, variables put in, the modifiers of `${…}` applied.

Semantics: BuildKit's frontend/dockerfile/shell. Pure functions of a text and a mapping of variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dosirak.engine.build.dockerfile import glob
from dosirak.engine.build.dockerfile.text import SPACES
from dosirak.engine.build.errors import DockerfileError

_DEEPEST = 50
_LONGEST = 1 << 20
_SPECIAL = "@*#?-$!0"


@dataclass(frozen=True, slots=True)
class Mode:
    """How words are processed.

    `escape` is the file's escape character. `raw_quotes` and `raw_escapes` keep the characters in the result;
    `plain_quotes` gives quotes no meaning (a here-document's content); `skip_unset` leaves `$x` of unset variables.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    plain_quotes: bool = False
    skip_unset: bool = False


@dataclass(frozen=True, slots=True)
class Expansion:
    """What became of a text: as one word, as words, and the variables it named: those set and those missing."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]


_DEFAULT = Mode()


def expand(text: str, variables: Mapping[str, str], mode: Mode = _DEFAULT) -> str:
    """`text` as one word.

    Raises DockerfileError when a quote or brace is not closed, a modifier unknown, a `?` variable unset,
    or the result longer than a million characters.
    """
    return examine(text, variables, mode).text


def expand_words(text: str, variables: Mapping[str, str], mode: Mode = _DEFAULT) -> list[str]:
    """`text` as words: split at white space after expansion, quoted parts kept whole. Raises as `expand`."""
    return list(examine(text, variables, mode).words)


def examine(text: str, variables: Mapping[str, str], mode: Mode = _DEFAULT) -> Expansion:
    """`text` expanded, with the variables it named. Raises as `expand`."""
    if not _is_special(text, mode):
        return Expansion(text, tuple(_split(text)), frozenset(), frozenset())
    run = _Run(text, variables, mode)
    try:
        word, words = run.until("", mode.raw_escapes)
    except DockerfileError as error:
        raise DockerfileError(f'failed to process "{text}": {error.problem}') from error
    return Expansion(word, tuple(words), frozenset(run.used), frozenset(run.missing))


def _is_special(text: str, mode: Mode) -> bool:
    return any(char in text for char in ("$", "'", '"', "<", mode.escape))


def _split(text: str) -> list[str]:
    words = _Words()
    words.add(text)
    return words.finish()


class _Words:
    """Collects words from pieces: `add` splits at white space, `add_raw` does not."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: list[str] = []

    def add(self, text: str) -> None:
        for char in text:
            if char in SPACES:
                self._end_word()
            else:
                self._word.append(char)

    def add_raw(self, text: str) -> None:
        self._word.append(text)

    def finish(self) -> list[str]:
        self._end_word()
        return self._words

    def _end_word(self) -> None:
        word = "".join(self._word)
        if word:
            self._words.append(word)
        self._word = []


class _Run:
    """One pass over a text, reading from `position`."""

    def __init__(self, text: str, variables: Mapping[str, str], mode: Mode) -> None:
        self.text = text
        self.variables = variables
        self.mode = mode
        self.position = 0
        self.depth = 0
        self.produced = 0
        self.used: set[str] = set()
        self.missing: set[str] = set()

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        char = self.peek()
        self.position += len(char)
        return char

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Processes up to the character `stop`, which is taken too; "" stands for the end of the text."""
        parts: list[str] = []
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.position += 1
                return "".join(parts), words.finish()
            if char == "$":
                part = self._dollar(raw_escapes)
                words.add(part)
            elif char == "<":
                part = self._angle()
                words.add_raw(part)
            elif char in "'\"" and not self.mode.plain_quotes:
                part = self._single_quoted() if char == "'" else self._double_quoted(raw_escapes)
                words.add_raw(part)
            elif char == self.mode.escape:
                part = self._escaped(raw_escapes)
                words.add_raw(part)
            else:
                part = self.next()
                words.add(part)
            parts.append(part)
            self.produced += len(part)
            if self.produced > _LONGEST:  # a few lines of ENV A=$A$A would fill the memory otherwise
                raise DockerfileError("the expanded text is longer than a million characters")
        if stop:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(parts), words.finish()

    def _escaped(self, raw_escapes: bool) -> str:
        escape = self.next()
        char = self.next()  # "" at the end: an escape that escapes nothing is dropped
        return escape + char if raw_escapes else char

    def _angle(self) -> str:
        """`<`, or `<<` with the blanks after it, which belong to a here-document's word."""
        self.position += 1
        if self.peek() != "<":
            return "<"
        start = self.position - 1
        self.position += 1
        while self.peek() and self.peek() in "\t\r ":
            self.position += 1
        return self.text[start : self.position]

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.position + 1 : end]
        self.position = end + 1
        return f"'{inner}'" if self.mode.raw_quotes else inner

    def _double_quoted(self, raw_escapes: bool) -> str:
        parts = [self.next()] if self.mode.raw_quotes else []
        if not self.mode.raw_quotes:
            self.position += 1
        while char := self.peek():
            if char == '"':
                self.position += 1
                return "".join([*parts, '"' if self.mode.raw_quotes else ""])
            if char == "$":
                parts.append(self._dollar(raw_escapes))
                continue
            self.position += 1
            if char == self.mode.escape:
                if raw_escapes:
                    parts.append(char)
                following = self.peek()
                if not following:
                    break
                if following in ('"', "$", self.mode.escape):
                    char = self.next()
                # before any other character the escape is a character like all others
            parts.append(char)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self, raw_escapes: bool) -> str:
        self.position += 1
        if self.peek() == "{":
            self.position += 1
            return self._braces()
        name = self._name()
        if not name:
            return "$"
        value = self._value(name)
        if value is None:
            return f"${name}" if self.mode.skip_unset else ""
        return value

    def _name(self) -> str:
        start = self.position
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL:
            self.position += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.position += 1
        return self.text[start : self.position]

    def _value(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value

    def _braces(self) -> str:
        if not self.peek():
            raise DockerfileError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise DockerfileError("substitutions are nested too deeply")
        name = self._name()
        operator = self.next()
        result = self._substituted(name) if operator == "/" else self._modified(name, operator)
        self.depth -= 1
        return result

    def _modified(self, name: str, operator: str) -> str:
        if operator == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self.mode.skip_unset else ""
            return value
        if operator == ":":
            operator += self.next()
        kind = operator[-1:]
        if not operator or operator == ":":
            raise DockerfileError("syntax error: missing '}'")
        trims = kind in ("#", "%")
        if (trims and len(operator) == 2) or (len(operator) == 1 and kind not in "+-?#%"):
            raise DockerfileError(f"unsupported modifier ({operator}) in substitution")
        word = self._operand("}", trims)
        value = self._value(name)
        if value is None and self.mode.skip_unset:
            return f"${{{name}{operator}{word}}}"
        if trims:
            return _trimmed(value or "", kind, word)
        return _defaulted(name, value, operator, word)

    def _substituted(self, name: str) -> str:
        everywhere = self.peek() == "/"
        self.position += everywhere
        pattern = self._operand("/", raw_escapes=True)
        replacement = self._operand("}", raw_escapes=True)
        value = self._value(name)
        if value is None and self.mode.skip_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return glob.substitute(value or "", pattern, replacement, everywhere)

    def _operand(self, stop: str, raw_escapes: bool) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except DockerfileError as error:
            if self.peek():
                raise
            where = " in ${}" if stop == "/" else ""
            raise DockerfileError(f"syntax error: missing '{stop}'{where}") from error


def _trimmed(value: str, kind: str, word: str) -> str:
    longest = word.startswith(kind)
    pattern = word[1:] if longest else word
    return (glob.trim_prefix if kind == "#" else glob.trim_suffix)(value, pattern, longest)


def _defaulted(name: str, value: str | None, operator: str, word: str) -> str:
    absent = value is None or (operator[0] == ":" and value == "")
    match operator[-1]:
        case "-":
            return word if absent else value or ""
        case "+":
            return "" if absent else word
        case "?":
            if not absent:
                return value or ""
            state = "unset" if value is None else "empty"
            raise DockerfileError(f"{name}: {word or f'is not allowed to be {state}'}")
        case _:
            raise DockerfileError(f"unsupported modifier ({operator}) in substitution")
