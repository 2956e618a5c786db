"""HTML written so that nothing from outside can become markup: values are escaped, fragments are marked.

`tag("td", value, style="…")` escapes `value` unless it is a `Markup`, and attribute values always.
"""

from __future__ import annotations

from dosirak.magics.look import theme
from dosirak.magics.look.text import escape

PLAIN = "tex2jax_ignore mathjax_ignore"
"""The class of every view's outermost element: Jupyter would typeset what stands between two `$` as mathematics."""

_VOID = frozenset(("img", "br", "hr"))


class Markup(str):
    """Text that is HTML already; only this module and its callers' literals make it."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: str) -> Markup:
    """Return the element; `_` in an attribute's name stands for `-`."""
    opened = "".join(f' {key.strip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{opened}>" if name in _VOID else f"<{name}{opened}>{join(*children)}</{name}>")


def join(*children: object) -> Markup:
    """Return the children one after another, each escaped unless it is Markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


def link(text: object, url: str) -> Markup:
    """Return a link that opens beside the notebook; only http and https become links."""
    if not url.startswith(("http://", "https://")):
        return join(text)
    return tag("a", text, href=url, target="_blank", rel="noopener noreferrer")


def dot(colour: str) -> Markup:
    """Return a small coloured disc, the sign of a state; the word stands beside it for those who can't see it."""
    return tag("span", "●", style=f"color:{colour};font-size:11px", aria_hidden="true")


def picture(svg: str, described: str) -> Markup:
    """Return an SVG as an `<img>`: it shows in a saved notebook that nobody trusts, and scripts in it would not run."""
    import base64

    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
    return tag("img", src=source, alt=described, style="max-width:100%;height:auto;border-radius:10px")


def mono(text: object) -> Markup:
    """Return text in the fixed-width face."""
    return tag("span", text, style=f"font-family:{theme.MONO};font-size:{theme.SMALL}")


def card(head: Markup, rows: list[tuple[str, Markup]]) -> Markup:
    """Return a headed box of names and values: how an object shows itself."""
    cell = "padding:2px 14px 2px 0;border:0;text-align:left;vertical-align:top;background:none"
    body = [
        tag(
            "tr",
            tag("td", name, style=f"{cell};color:{theme.GREY};white-space:nowrap"),
            tag("td", value, style=cell),
            style="background:none",
        )
        for name, value in rows
    ]
    table = tag("table", *body, style="margin:6px 0 0;border:0;border-collapse:collapse;font-size:inherit")
    box = f"display:inline-block;max-width:100%;border:1px solid {theme.LINE};border-radius:8px;padding:10px 14px"
    style = f"{box};font-size:{theme.NORMAL};line-height:1.5"
    return tag("div", head, table if rows else Markup(""), class_=PLAIN, style=style)
