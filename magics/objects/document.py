"""What `inspect` answers: plain lists and maps that fold in a cell, and a look-up by path."""

from __future__ import annotations

import json
from typing import Any

from dosirak.magics.look import theme
from dosirak.magics.look.html import PLAIN, Markup, join, mono, tag
from dosirak.magics.look.text import as_json

_OPEN_LEVELS = 2


class Documents(list[Any]):
    """The inspected things, a list as Docker prints it. `found["Config.Env"]` looks into the first one."""

    def __getitem__(self, key: Any) -> Any:
        """Return an element by its number, or what stands at a dotted path of the first document."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        value: Any = super().__getitem__(0)
        for step in key.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value

    def __repr__(self) -> str:
        return as_json(list(self), indent=4)

    def _repr_html_(self) -> str:
        shown = [_node(_title(document), document, 0) for document in self]
        return tag("div", *shown, class_=PLAIN, style=f"font-size:{theme.NORMAL};line-height:1.6")


def _title(document: Any) -> str:
    if not isinstance(document, dict):
        return "document"
    tags = document.get("RepoTags") or [""]
    name = str(document.get("Name") or tags[0]).lstrip("/")
    return name or str(document.get("Id", "document"))[:19]


def _node(name: object, value: Any, level: int) -> Markup:
    key = tag("span", name, style=f"color:{theme.BLUE}")
    if not isinstance(value, dict | list) or not value:
        return tag("div", key, ": ", _leaf(value), style=f"margin-left:{16 if level else 0}px")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    count = tag("span", f"  {len(value)}", style=f"color:{theme.GREY}")
    inner = [_node(k, v, level + 1) for k, v in items]
    indent = f"margin-left:{14 if level else 0}px"
    attributes = {"open": "open"} if level + 1 < _OPEN_LEVELS else {}
    return tag("details", tag("summary", key, count, style="cursor:pointer"), *inner, style=indent, **attributes)


def _leaf(value: Any) -> Markup:
    if isinstance(value, str):
        return tag("span", mono(json.dumps(value, ensure_ascii=False)), style="overflow-wrap:anywhere")
    return tag("span", join(mono(json.dumps(value))), style=f"color:{theme.VIOLET}")
