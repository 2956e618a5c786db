"""COPY and ADD of files that never reach the builder, because `.dockerignore` leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.build.checks import rules
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.paths import clean

_EVERYTHING = ("*", "**", "**/*")


def check_sources(copy: typed.Copy, patterns: Sequence[str], found: Findings) -> None:
    """The sources of one COPY or ADD from the context, variables put in.

    Where a pattern takes files back in (`!`) nothing is said: a directory that is left out may still hold some.
    """
    if copy.source_stage or not patterns or any(pattern.startswith("!") for pattern in patterns):
        return
    ignore = Ignore(patterns)
    verb = "Add" if isinstance(copy, typed.Add) else "Copy"
    for source in copy.sources:
        path = clean(source)
        if path in (".", "/"):
            left_out = any(pattern in _EVERYTHING for pattern in patterns)
        else:
            left_out = "://" not in source and ignore.excludes(path.lstrip("/"))
        if left_out:
            detail = f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
            found.add(rules.COPY_IGNORED, detail, copy.lines)
