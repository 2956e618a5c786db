"""A template's tree applied to data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dosirak.magics.errors import suggestion
from dosirak.magics.templates.functions import FUNCTIONS, go_text
from dosirak.magics.templates.nodes import Action, Block, Chain, Dot, Function, Literal, Pipe, Text, Variable
from dosirak.magics.templates.parse import TemplateError


def render(tree: list[Any], data: Any) -> str:
    """Return the text. Raises TemplateError when the template does not fit the data."""
    output: list[str] = []
    _Run(data, output).nodes(tree, data)
    return "".join(output)


class _Run:
    def __init__(self, data: Any, output: list[str]) -> None:
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
            raise TemplateError(f"range can't iterate over {go_text(value)}")
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
            function = FUNCTIONS.get(head.name)
            if function is None:
                raise TemplateError(f'function "{head.name}" not defined{suggestion(head.name, FUNCTIONS)}')
            arguments = [self._operand(operand, dot) for operand in command[1:]] + extra
            try:
                return function(*arguments)
            except TemplateError:
                raise
            except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
                raise TemplateError(f"error calling {head.name}: {error}") from error
        value = self._operand(head, dot)
        arguments = [self._operand(operand, dot) for operand in command[1:]] + extra
        if callable(value):
            return value(*arguments)
        if arguments:
            raise TemplateError(f"can't give argument to non-function {_written(head)}")
        return value

    def _operand(self, operand: Any, dot: Any) -> Any:
        match operand:
            case Literal(value=value):
                return value
            case Function():
                return self._command((operand,), [], dot)
            case Chain(base=base, fields=fields):
                return _fields(self._base(base, dot), fields)
        raise TemplateError("unexpected operand")

    def _base(self, base: Any, dot: Any) -> Any:
        if isinstance(base, Dot):
            return dot
        if isinstance(base, Variable):
            if base.name not in self._variables:
                raise TemplateError(f'undefined variable "${base.name}"')
            return self._variables[base.name]
        return self._pipe(base, dot)


def _fields(value: Any, fields: tuple[str, ...]) -> Any:
    for field in fields:
        if value is None:
            raise TemplateError(f"nil data; no entry for key {field!r}".replace("'", '"'))
        if not isinstance(value, Mapping):
            raise TemplateError(f"can't evaluate field {field} in {go_text(value)[:40]}")
        if field not in value:
            raise TemplateError(f'no field or entry "{field}"{suggestion(field, map(str, value))}')
        value = value[field]
    return value


def _written(node: Any) -> str:
    return "." + ".".join(node.fields) if isinstance(node, Chain) else str(node)
