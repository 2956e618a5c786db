"""What registries refuse, in Docker's words (moby, distribution/errors.go and registry/errors.go)."""

from __future__ import annotations

from typing import Any

import msgspec

from dosirak.engine.errors import EngineError, NotFound
from dosirak.engine.images.reference import Reference


class RegistryError(EngineError):
    """A registry's answer that is an error. `code`: the distribution spec's ("MANIFEST_UNKNOWN"), "" if it has none."""

    def __init__(self, http_status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after = 0.0
        self.code = code


class Unreachable(EngineError):
    """No answer came, or a broken one."""


class Unauthorized(EngineError):
    """The registry does not know these credentials."""

    status = 401


def from_answer(status: int, body: bytes) -> RegistryError:
    """The error an answer's body tells, or one made of its status."""
    code = message = ""
    try:
        document: Any = msgspec.json.decode(body)
        first = document["errors"][0] if document.get("errors") else document
        code = str(first.get("code") or "")[:80]
        message = str(first.get("message") or first.get("details") or "")[:400]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, LookupError, TypeError):
        pass
    if not message:
        message = f"received unexpected HTTP status: {status}"
    said = code.lower().replace("_", " ")
    return RegistryError(status, code, f"{said}: {message}" if said else message)


def of_pull(error: RegistryError, reference: Reference) -> EngineError:
    """What `docker pull` says to it."""
    if error.code in ("DENIED", "NAME_UNKNOWN") or (error.http_status == 403 and not error.code):
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
            f"'docker login': {error.message}"
        )
    if error.code == "MANIFEST_UNKNOWN" or error.http_status == 404:
        return NotFound(f"manifest for {reference.familiar} not found: {error.message}")
    return error
