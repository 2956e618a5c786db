"""`--format` for listings: table, json, or a template for each row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dosirak.magics.errors import UsageError
from dosirak.magics.tables.text import draw
from dosirak.magics.templates import TemplateError, parse, render
from dosirak.magics.templates.functions import to_json

_HEADED = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


# What Go calls the data of a listing's template (docker/cli).
_TYPES = {
    "containers": "*formatter.ContainerContext",
    "images": "*formatter.imageContext",
    "volumes": "*formatter.volumeContext",
    "usage": "*formatter.diskUsageContext",
    "networks": "*network.networkContext",
    "stats": "*container.statsContext",
    "history": "*image.historyContext",
    "search": "*registry.searchContext",
}


def format_rows(
    template: str, rows: Sequence[Mapping[str, Any]], headers: Mapping[str, str], kind: str = ""
) -> list[str]:
    """Return a line for each row (a `table …` template: a header first).

    Parameters: `rows` map a template's field to its value, `headers` to its column title; `kind`: the listing.
    Raises UsageError.
    """
    if template == "json":
        return [to_json(dict(sorted(row.items()))) for row in rows]
    table = template.removeprefix("table").lstrip() if template.split(None, 1)[0] == "table" else None
    if kind == "containers":  # docker tries the whole text first
        _render(template, rows[:1], _TYPES[kind], Wording("failed to parse template", "failed to execute template", 1))
    text = _unescape(template if table is None else table)
    lines = _render(text, rows, _TYPES.get(kind, kind), _ROWS)
    if table is None:
        return lines
    head = re.sub(r"\{\{.*?\}\}", lambda m: _title(m.group(), headers), text)
    return draw(head.split("\t"), [line.split("\t") for line in lines]).split("\n")


def format_documents(template: str, documents: Sequence[Any]) -> list[str]:
    """Return a line for each inspected document."""
    if template == "json":
        return [to_json(document) for document in documents]
    return _render(_unescape(template), documents, "", _DOCUMENTS)


class Wording(NamedTuple):
    """Docker's words for a template that is none, and for one that does not fit; the exit status of the former."""

    unparsed: str
    unfit: str
    status: int


_ROWS = Wording("template parsing error", "template parsing error", 1)
_DOCUMENTS = _ROWS._replace(status=64)


def _render(text: str, values: Sequence[Any], kind: str, wording: Wording) -> list[str]:
    try:
        tree = parse(text)
    except TemplateError as error:
        raise UsageError(f"{wording.unparsed}: {error}", wording.status) from error
    try:
        return [render(tree, value, kind) for value in values]
    except TemplateError as error:
        raise UsageError(f"{wording.unfit}: {error}", 1) from error


def _unescape(text: str) -> str:
    return text.replace(r"\t", "\t").replace(r"\n", "\n")


def _title(action: str, headers: Mapping[str, str]) -> str:
    match = _HEADED.search(action) or re.search(r"\.(\w+)", action)
    name = match.group(1) if match else action
    return headers.get(name, name.upper())
