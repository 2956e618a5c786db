"""Template text → tree (Go's text/template syntax)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from dosirak.magics.errors import suggestion
from dosirak.magics.templates.errors import unparsed
from dosirak.magics.templates.functions import FUNCTIONS
from dosirak.magics.templates.nodes import Action, Block, Chain, Dot, Function, Literal, Pipe, Template, Text, Variable

_ACTION = re.compile(r"\{\{(-\s)?((?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|[^\"`])*?)(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<variable>\$\w*(?:\.\w+)*)
    | (?P<field>(?:\.\w+)+|\.)
    | (?P<assign>:=|=)
    | (?P<word>\w+)
    | (?P<mark>[|(),])
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "nil": None}


class Token(NamedTuple):
    """A word of an action, and where in the template it is."""

    kind: str
    text: str
    at: int


class _Wrong(Exception):
    """Why an action is none."""


def parse(text: str) -> Template:
    """Return the template's tree. Raises TemplateError."""
    return Template(text, _Parser(text).parse())


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._root: list[Any] = []
        self._open: list[tuple[Block, bool]] = []  # the block, and whether its else was opened by `else if`
        self._target = self._root
        self._at = 0  # the action that is read
        self._variables = {""}

    def parse(self) -> list[Any]:
        """Raises TemplateError."""
        try:
            return self._parse()
        except _Wrong as error:
            raise unparsed(self._text, self._at, str(error)) from error

    def _parse(self) -> list[Any]:
        position, trim = 0, False
        for match in _ACTION.finditer(self._text):
            self._add_text(self._text[position : match.start()], trim, bool(match.group(1)))
            self._at = match.start(2)
            self._action(match.group(2))
            position, trim = match.end(), bool(match.group(3))
        rest = self._text[position:]
        if "{{" in rest:
            self._at = position + rest.index("{{")
            raise _Wrong(_unclosed(rest[rest.index("{{") + 2 :]))
        self._add_text(rest, trim, False)
        if self._open:
            self._at = len(self._text)
            raise _Wrong("unexpected EOF")
        return self._root

    def _add_text(self, text: str, left: bool, right: bool) -> None:
        text = text.lstrip() if left else text
        text = text.rstrip() if right else text
        if text:
            self._target.append(Text(text))

    def _action(self, whole: str) -> None:
        text = whole.strip()
        at = self._at + whole.index(text)
        if text.startswith("/*"):
            return
        word, _, rest = text.partition(" ")
        if word in ("if", "with", "range"):
            self._begin(word, rest, at + len(word) + 1, chained=False)
        elif word == "else":
            self._otherwise(rest.strip(), at + text.rindex(rest.strip()))
        elif text == "end":
            self._end()
        else:
            variable, tokens = _variables(_tokens(text, at))
            self._declare(variable, tokens)
            self._target.append(Action(_pipe(tokens), variable[0] if variable else ""))

    def _declare(self, names: Iterable[str], tokens: Iterable[Token]) -> None:
        """What an action says of variables: those that it makes are known behind it, not in it."""
        for kind, text, _ in tokens:
            if kind == "variable" and (name := text[1:].partition(".")[0]) not in self._variables:
                raise _Wrong(f'undefined variable "${name}"')
        self._variables.update(names)

    def _begin(self, kind: str, rest: str, at: int, *, chained: bool) -> None:
        variables, tokens = _variables(_tokens(rest, at))
        self._declare(variables, tokens)
        block = Block(kind, _pipe(tokens), variables)
        self._target.append(block)
        self._open.append((block, chained))
        self._target = block.body

    def _otherwise(self, rest: str, at: int) -> None:
        if not self._open:
            raise _Wrong("unexpected {{else}}")
        self._target = self._open[-1][0].otherwise
        if rest:
            kind, _, condition = rest.partition(" ")
            self._begin(kind, condition, at + len(kind) + 1, chained=True)

    def _end(self) -> None:
        if not self._open:
            raise _Wrong("unexpected {{end}}")
        while self._open.pop()[1]:  # an `else if` has no end of its own
            pass
        block = self._open[-1][0] if self._open else None
        self._target = self._root if block is None else block.otherwise if block.otherwise else block.body


def _tokens(text: str, at: int) -> list[Token]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise _Wrong(f'unexpected "{text[position:].strip()[:1]}" in operand')
        kind = match.lastgroup
        found.append(Token(kind, match.group(kind), at + match.start(kind)))
        # `.A.B` after a closing bracket is that bracket's field; after a space it would be an argument.
        position = match.end()
    return found


def _variables(tokens: list[Token]) -> tuple[tuple[str, ...], list[Token]]:
    """Split `$i, $e :=` off."""
    position = next((i for i, token in enumerate(tokens) if token.kind == "assign"), None)
    if position is None:
        return (), tokens
    return tuple(token.text[1:] for token in tokens[:position] if token.kind == "variable"), tokens[position + 1 :]


def _pipe(tokens: list[Token]) -> Pipe:
    pipe, left = _read_pipe(tokens)
    if left:
        raise _Wrong(f'unexpected "{left[0][1]}" in action')
    return pipe


def _read_pipe(tokens: list[Token]) -> tuple[Pipe, list[Token]]:
    commands: list[tuple[Any, ...]] = []
    operands: list[Any] = []
    while tokens and tokens[0][1] != ")":
        kind, text, at = token = tokens[0]
        tokens = tokens[1:]
        if (kind, text) == ("mark", "|"):
            commands.append(_command(operands))
            operands = []
        elif (kind, text) == ("mark", "("):
            inner, tokens = _read_pipe(tokens)
            if not tokens:
                raise _Wrong("unclosed left paren")
            tokens = tokens[1:]
            fields: tuple[str, ...] = ()
            if tokens and tokens[0][0] == "field" and tokens[0][1] != ".":
                token = tokens[0]
                fields, tokens = tuple(token.text[1:].split(".")), tokens[1:]
            operands.append(Chain(inner, fields, token.at, token.text if fields else ""))
        else:
            operands.append(_operand(kind, text, at))
    commands.append(_command(operands))
    return Pipe(tuple(commands)), tokens


def _command(operands: list[Any]) -> tuple[Any, ...]:
    if not operands:
        raise _Wrong("missing value for command")
    return tuple(operands)


def _operand(kind: str, text: str, at: int) -> Any:
    if kind == "string":
        return Literal(text[1:-1] if text[0] == "`" else ast.literal_eval(text))
    if kind == "number":
        return Literal(float(text) if "." in text else int(text))
    if kind == "variable":
        name, *fields = text[1:].split(".")
        return Chain(Variable(name), tuple(fields), at + _second(text), text)
    if kind == "field":
        return Chain(Dot(), tuple(text[1:].split(".")) if text != "." else (), at + _second(text[1:], 1), text)
    if kind == "word":
        if text in _WORDS:
            return Literal(_WORDS[text])
        if text not in FUNCTIONS:
            raise _Wrong(f'function "{text}" not defined{suggestion(text, FUNCTIONS)}')
        return Function(text, at)
    raise _Wrong(f'unexpected "{text}" in operand')


def _second(text: str, before: int = 0) -> int:
    """Return where the second of a chain's parts begins (that is where Go says that the chain is), 0 without any."""
    found = text.find(".")
    return found + before if found >= 0 else 0


def _unclosed(text: str) -> str:
    """Return what an action that never ends lacks."""
    left = re.sub(r'"(?:\\.|[^"\\\n])*"|`[^`]*`', "", text)
    return "unterminated quoted string" if '"' in left else "unclosed action"
