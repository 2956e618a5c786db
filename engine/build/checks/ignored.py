"""COPY and ADD of files that never reach the builder, because `.dockerignore` leaves them out."""

from __future__ import annotations

from collections.abc import Sequence

from dosirak.engine.build.checks import rules
from dosirak.engine.build.checks.findings import Findings
from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.ignore import Ignore
from dosirak.engine.build.paths import clean

_EVERYTHING = ("*", "**", "**/*")


class LeftOut:
    """What a context's `.dockerignore` leaves out, read once.

    Where a pattern takes files back in (`!`) nothing is said: a directory that is left out may still hold some.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        told = bool(patterns) and not any(pattern.startswith("!") for pattern in patterns)
        self._ignore = Ignore(patterns) if told else None
        self._everything = told and any(pattern in _EVERYTHING for pattern in patterns)

    def check(self, copy: typed.Copy, found: Findings) -> None:
        """The sources of one COPY or ADD, variables put in."""
        if copy.source_stage or self._ignore is None or found.full:
            return
        verb = "Add" if isinstance(copy, typed.Add) else "Copy"
        for source in copy.sources:
            path = clean(source)
            root = path in (".", "/")
            if self._everything if root else "://" not in source and self._ignore.excludes(path.lstrip("/")):
                detail = f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
                found.add(rules.COPY_IGNORED, detail, copy.lines)
