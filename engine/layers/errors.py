"""The room's one error of its own."""

from __future__ import annotations

from dosirak.engine.errors import InvalidRequest


class CorruptArchive(InvalidRequest):
    """An archive is truncated, malformed or hostile. The message says which entry and why."""
