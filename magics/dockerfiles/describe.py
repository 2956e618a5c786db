"""Help on one instruction, as text and as a block of HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dosirak.magics.dockerfiles.language import INSTRUCTIONS, PAGE, Instruction
from dosirak.magics.look import theme
from dosirak.magics.look.html import PLAIN, Markup, link, mono, tag

_ASKED = re.compile(r"\s*([A-Za-z]+)\s*\?{1,2}\s*")


@dataclass(frozen=True)
class Help:
    """What there is to know of an instruction; shows itself."""

    name: str
    instruction: Instruction

    def __repr__(self) -> str:
        known = self.instruction
        width = max((len(flag) for flag in known.flags), default=0)
        flags = [f"  {flag:{width}}  {what}" for flag, what in known.flags.items()]
        return "\n".join([*known.forms, "", known.does, *([""] if flags else []), *flags, "", f"  {known.example}"])

    def _repr_html_(self) -> Markup:
        known = self.instruction
        forms = [tag("div", mono(form)) for form in known.forms]
        cell = "text-align:left;padding:1px 12px 1px 0"
        rows = [
            tag("tr", tag("td", mono(flag), style=cell), tag("td", what, style=cell))
            for flag, what in known.flags.items()
        ]
        table = [tag("table", *rows, style="margin:4px 0 8px 0")] if rows else []
        block = f"margin:6px 0;padding:6px 10px;background:{theme.FAINT};border-radius:6px"
        does = tag("div", known.does, style="margin:6px 0")
        more = link(f"{PAGE}#{self.name.lower()}", "Docker's reference")
        return tag("div", *forms, does, *table, tag("pre", known.example, style=block), more, class_=PLAIN)


def describe(word: str) -> Help | None:
    """Return the help on an instruction, None for any other word."""
    known = INSTRUCTIONS.get(word.upper())
    return Help(word.upper(), known) if known is not None else None


def asked(text: str) -> Help | None:
    """Return the help that a cell asks for with a line `RUN?`, None when it asks for none."""
    for line in text.splitlines():
        match = _ASKED.fullmatch(line)
        if match and (found := describe(match[1])) is not None:
            return found
    return None
