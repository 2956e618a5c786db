"""A template's tree applied to data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dosirak.magics.errors import suggestion
from dosirak.magics.templates.errors import TemplateError, unfit, unparsed
from dosirak.magics.templates.functions import FUNCTIONS, go_text, to_json
from dosirak.magics.templates.nodes import Action, Block, Chain, Dot, Function, Literal, Pipe, Template, Text, Variable


def render(template: Template, data: Any, kind: str = "") -> str:
    """Return the text. Raises TemplateError when the template does not fit the data.

    Parameters: `kind`: what Go calls the type of `data` ("*formatter.ContainerContext"); "" for a document.
    """
    output: list[str] = []
    _Run(template.text, data, kind, output).nodes(template.nodes, data)
    return "".join(output)


class _Run:
    def __init__(self, text: str, data: Any, kind: str, output: list[str]) -> None:
        self._text = text
        self._data = data
        self._kind = kind
        self._variables: dict[str, Any] = {"": data}
        self._output = output

    def nodes(self, nodes: list[Any], dot: Any) -> None:
        for node in nodes:
            match node:
                case Text(text=text):
                    self._output.append(text)
                case Action(pipe=pipe, variable=""):
                    self._output.append(go_text(self._pipe(pipe, dot)))
                case Action(pipe=pipe, variable=name):
                    self._variables[name] = self._pipe(pipe, dot)
                case Block():
                    self._block(node, dot)

    def _block(self, block: Block, dot: Any) -> None:
        value = self._pipe(block.pipe, dot)
        if block.kind == "range":
            self._range(block, value, dot)
        elif not value:
            self.nodes(block.otherwise, dot)
        else:
            if block.variables:
                self._variables[block.variables[0]] = value
            self.nodes(block.body, value if block.kind == "with" else dot)

    def _range(self, block: Block, value: Any, dot: Any) -> None:
        if not value:
            self.nodes(block.otherwise, dot)
            return
        if isinstance(value, Mapping):
            items: list[tuple[Any, Any]] = sorted(value.items())
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        else:
            raise self._unfit(block.pipe, f"range can't iterate over {go_text(value)}")
        for key, element in items:
            names = block.variables
            if len(names) == 2:
                self._variables[names[0]], self._variables[names[1]] = key, element
            elif names:
                self._variables[names[0]] = element
            self.nodes(block.body, element)

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = None
        for position, command in enumerate(pipe.commands):
            extra = [value] if position else []
            value = self._command(command, extra, dot)
        return value

    def _command(self, command: tuple[Any, ...], extra: list[Any], dot: Any) -> Any:
        head = command[0]
        if isinstance(head, Function):
            function = FUNCTIONS[head.name]
            arguments = [self._operand(operand, dot) for operand in command[1:]] + extra
            try:
                return function(*arguments)
            except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
                raise self._unfit(command, f"error calling {head.name}: {error}") from error
        value = self._operand(head, dot)
        arguments = [self._operand(operand, dot) for operand in command[1:]] + extra
        if callable(value):
            return value(*arguments)
        if arguments:
            raise self._unfit(head, f"can't give argument to non-function {_written(head)}")
        return value

    def _operand(self, operand: Any, dot: Any) -> Any:
        match operand:
            case Literal(value=value):
                return value
            case Function():
                return self._command((operand,), [], dot)
            case Chain(base=base, fields=fields):
                return self._fields(operand, self._base(base, dot), fields)
        raise TemplateError("unexpected operand")

    def _base(self, base: Any, dot: Any) -> Any:
        if isinstance(base, Dot):
            return dot
        if isinstance(base, Variable):
            if base.name not in self._variables:
                raise unparsed(self._text, 0, f'undefined variable "${base.name}"')
            return self._variables[base.name]
        return self._pipe(base, dot)

    def _fields(self, operand: Chain, value: Any, fields: tuple[str, ...]) -> Any:
        for field in fields:
            if value is None:
                raise self._unfit(operand, f'nil data; no entry for key "{field}"')
            if not isinstance(value, Mapping):
                kind = "string" if self._kind else "interface {}"
                raise self._unfit(operand, f"can't evaluate field {field} in type {kind}")
            if field not in value:
                reason = f'map has no entry for key "{field}"'
                if value is self._data and self._kind:
                    reason = f"can't evaluate field {field} in type {self._kind}"
                raise self._unfit(operand, reason + suggestion(field, map(str, value)))
            value = value[field]
        return value

    def _unfit(self, node: Any, reason: str) -> TemplateError:
        return unfit(self._text, _place(node), _written(node), reason)


def _place(node: Any) -> int:
    match node:
        case Chain(at=at) | Function(at=at):
            return at
        case Pipe(commands=(command, *_)):
            return _place(command)
        case (first, *_):
            return _place(first)
    return 0


def _written(node: Any) -> str:
    """Return what Go writes for a node."""
    match node:
        case Chain(base=Pipe() as pipe, written=written):
            return f"({_written(pipe)}){written}"
        case Chain(written=written):
            return written
        case Function(name=name):
            return name
        case Literal(value=value):
            return to_json(value)
        case Pipe(commands=commands):
            return " | ".join(map(_written, commands))
        case tuple():
            return " ".join(map(_written, node))
    return str(node)
