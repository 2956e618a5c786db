"""What is wrong with a template, in Go's words (text/template: `template: NAME:LINE:COLUMN: executing …`)."""

from __future__ import annotations


class TemplateError(ValueError):
    """The template can't be parsed, or does not fit the data; the message is one line."""


def unparsed(text: str, position: int, reason: str) -> TemplateError:
    """Return the error of a template that is none. Parameters: `position` in `text`, in characters."""
    line = text.count("\n", 0, position) + 1
    return TemplateError(f"template: :{line}: {reason}")


def unfit(text: str, position: int, written: str, reason: str) -> TemplateError:
    """Return the error of a template that does not fit its data. Parameters: `written`: the part that does not."""
    before = text[:position]
    line, column = before.count("\n") + 1, len(before.encode()) - len(before[: before.rfind("\n") + 1].encode())
    return TemplateError(f'template: :{line}:{column}: executing "" at <{written}>: {reason}')
