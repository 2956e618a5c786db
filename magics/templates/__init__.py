"""Go templates as `--format` takes them: fields, pipes, if, range, with, variables and Docker's functions.

`parse` makes a tree of a text, `render` applies it to plain Python values (maps, lists, numbers, texts).
"""

from dosirak.magics.templates.errors import TemplateError
from dosirak.magics.templates.evaluate import render
from dosirak.magics.templates.parse import parse

__all__ = ["TemplateError", "parse", "render"]
