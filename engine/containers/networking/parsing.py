"""`--link` as it is written. Pure."""

from __future__ import annotations

from dosirak.engine.errors import InvalidRequest


def parse_link(text: str) -> tuple[str, str]:
    """NAME[:ALIAS], or /NAME:/OWNER/ALIAS as inspect shows it: (name, alias). Raises InvalidRequest."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias) or ":" in alias:
        raise InvalidRequest(f"bad format for links: {text}" if text else "empty string specified for links")
    name = name.removeprefix("/")
    return name, (alias or name).rpartition("/")[2]
