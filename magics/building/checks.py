"""`build --check`: what is wrong with a Dockerfile, as docker's own client shows it, and as rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosirak.magics.errors import DosirakError
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.listing import Listing

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine

_TITLES = ["LINE", "RULE", "DETAIL", "URL"]
_RULE = "-" * 20
_AROUND = 2


def ask(engine: Engine, text: str, filename: str, arguments: Mapping[str, Any], target: str, ignored: str) -> Any:
    """Return the engine's report: `Warnings`, a list, and `Error`, a text."""
    body = {"Dockerfile": text, "Filename": filename, "Args": arguments, "Target": target, "Ignored": ignored}
    return engine.post("/dosirak/build/check", body=body)


def read(folder: Path, name: str) -> str:
    """Return the Dockerfile's text; raises DosirakError."""
    try:
        return (folder / name).read_text(errors="replace")
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise DosirakError(f"unable to read Dockerfile: open {folder / name}: {reason}") from error


def ignored(folder: Path, name: str) -> str:
    """Return what says which files are left out: NAME.dockerignore, else .dockerignore."""
    for file in [folder / f"{name}.dockerignore", folder / ".dockerignore"] if name else [folder / ".dockerignore"]:
        if file.is_file():
            return file.read_text(errors="replace")
    return ""


def listing(warnings: Sequence[Mapping[str, Any]]) -> Listing:
    """Return the warnings as rows."""
    keys = ["FirstLine", "Rule", "Detail", "URL"]
    rows = [dict(zip(_TITLES, (warning[key] for key in keys), strict=True)) for warning in warnings]
    return Listing(_TITLES, rows, Look("checks"))


def words(warnings: Sequence[Mapping[str, Any]], text: str, filename: str) -> str:
    """Return the report as `docker build --check` prints it, each warning with its lines."""
    count = len(warnings)
    if not count:
        return "Check complete, no warnings found."
    head = f"Check complete, {'1 warning has' if count == 1 else f'{count} warnings have'} been found!"
    lines = text.splitlines()
    return "\n".join([head, *(_warning(warning, lines, filename) for warning in warnings)])


def _warning(warning: Mapping[str, Any], lines: Sequence[str], filename: str) -> str:
    first, last = warning["FirstLine"], warning["LastLine"]
    shown = range(max(1, first - _AROUND), min(len(lines), last + _AROUND) + 1)
    marked = (
        f"{number:4d} | {'>>>' if first <= number <= last else '   '} {lines[number - 1]}".rstrip() for number in shown
    )
    title = f"\nWARNING: {warning['Rule']}" + (f" - {warning['URL']}" if warning["URL"] else "")
    return "\n".join([title, warning["Detail"], f"{filename}:{first}", _RULE, *marked, _RULE])
