"""Template text → tree (Go's text/template syntax)."""

from __future__ import annotations

import ast
import re
from typing import Any

from dosirak.magics.templates.nodes import Action, Block, Chain, Dot, Function, Literal, Pipe, Text, Variable

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


class TemplateError(ValueError):
    """The template can't be parsed, or does not fit the data; the message is one line."""


def parse(text: str) -> list[Any]:
    """Return the template's tree. Raises TemplateError."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._root: list[Any] = []
        self._open: list[tuple[Block, bool]] = []  # the block, and whether its else was opened by `else if`
        self._target = self._root

    def parse(self) -> list[Any]:
        position, trim = 0, False
        for match in _ACTION.finditer(self._text):
            self._add_text(self._text[position : match.start()], trim, bool(match.group(1)))
            self._action(match.group(2).strip())
            position, trim = match.end(), bool(match.group(3))
        rest = self._text[position:]
        if "{{" in rest:
            raise TemplateError("unclosed action")
        self._add_text(rest, trim, False)
        if self._open:
            raise TemplateError("unexpected EOF: {{end}} is missing")
        return self._root

    def _add_text(self, text: str, left: bool, right: bool) -> None:
        text = text.lstrip() if left else text
        text = text.rstrip() if right else text
        if text:
            self._target.append(Text(text))

    def _action(self, text: str) -> None:
        if text.startswith("/*"):
            return
        word, _, rest = text.partition(" ")
        if word in ("if", "with", "range"):
            self._begin(word, rest, chained=False)
        elif word == "else":
            self._otherwise(rest.strip())
        elif text == "end":
            self._end()
        else:
            variable, tokens = _variables(_tokens(text))
            self._target.append(Action(_pipe(tokens), variable[0] if variable else ""))

    def _begin(self, kind: str, rest: str, *, chained: bool) -> None:
        variables, tokens = _variables(_tokens(rest))
        block = Block(kind, _pipe(tokens), variables)
        self._target.append(block)
        self._open.append((block, chained))
        self._target = block.body

    def _otherwise(self, rest: str) -> None:
        if not self._open:
            raise TemplateError("unexpected {{else}}")
        self._target = self._open[-1][0].otherwise
        if rest:
            kind, _, condition = rest.partition(" ")
            self._begin(kind, condition, chained=True)

    def _end(self) -> None:
        if not self._open:
            raise TemplateError("unexpected {{end}}")
        while self._open.pop()[1]:  # an `else if` has no end of its own
            pass
        block = self._open[-1][0] if self._open else None
        self._target = self._root if block is None else block.otherwise if block.otherwise else block.body


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise TemplateError(f'unexpected "{text[position:].strip()[:20]}" in action')
        found.append((match.lastgroup, match.group(match.lastgroup)))
        # `.A.B` after a closing bracket is that bracket's field; after a space it would be an argument.
        position = match.end()
    return found


def _variables(tokens: list[tuple[str, str]]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Split `$i, $e :=` off."""
    position = next((i for i, (kind, _) in enumerate(tokens) if kind == "assign"), None)
    if position is None:
        return (), tokens
    return tuple(text[1:] for kind, text in tokens[:position] if kind == "variable"), tokens[position + 1 :]


def _pipe(tokens: list[tuple[str, str]]) -> Pipe:
    pipe, left = _read_pipe(tokens)
    if left:
        raise TemplateError(f'unexpected "{left[0][1]}" in action')
    return pipe


def _read_pipe(tokens: list[tuple[str, str]]) -> tuple[Pipe, list[tuple[str, str]]]:
    commands: list[tuple[Any, ...]] = []
    operands: list[Any] = []
    while tokens and tokens[0][1] != ")":
        kind, text = tokens[0]
        tokens = tokens[1:]
        if (kind, text) == ("mark", "|"):
            commands.append(_command(operands))
            operands = []
        elif (kind, text) == ("mark", "("):
            inner, tokens = _read_pipe(tokens)
            if not tokens:
                raise TemplateError("unclosed left paren")
            tokens = tokens[1:]
            fields: tuple[str, ...] = ()
            if tokens and tokens[0][0] == "field" and tokens[0][1] != ".":
                fields, tokens = tuple(tokens[0][1][1:].split(".")), tokens[1:]
            operands.append(Chain(inner, fields))
        else:
            operands.append(_operand(kind, text))
    commands.append(_command(operands))
    return Pipe(tuple(commands)), tokens


def _command(operands: list[Any]) -> tuple[Any, ...]:
    if not operands:
        raise TemplateError("missing value for command")
    return tuple(operands)


def _operand(kind: str, text: str) -> Any:
    if kind == "string":
        return Literal(text[1:-1] if text[0] == "`" else ast.literal_eval(text))
    if kind == "number":
        return Literal(float(text) if "." in text else int(text))
    if kind == "variable":
        name, *fields = text[1:].split(".")
        return Chain(Variable(name), tuple(fields))
    if kind == "field":
        return Chain(Dot(), tuple(text[1:].split(".")) if text != "." else ())
    if kind == "word":
        return Literal(_WORDS[text]) if text in _WORDS else Function(text)
    raise TemplateError(f'unexpected "{text}" in operand')
