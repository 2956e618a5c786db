"""What registries refuse, in Docker's words (moby, distribution/errors.go; distribution, client/errors.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dosirak.engine.errors import EngineError, InvalidRequest, NotFound
from dosirak.engine.images.reference import Reference
from dosirak.engine.registry.challenge import parse

_MEANINGS = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "authentication required",
    "UNAVAILABLE": "service unavailable",
    "UNSUPPORTED": "The operation is unsupported.",
}
"""The distribution spec's codes, as its registries say them when they say nothing else."""
_BY_STATUS = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}
_BY_CHALLENGE = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}
"""RFC 6750, 3.1."""
_PASSING = frozenset((408, 429, 500, 502, 503, 504))


class RegistryError(EngineError):
    """A registry's answer that is an error. `code`: the distribution spec's ("MANIFEST_UNKNOWN"), "" if it has none.

    `retry_after`: seconds that the registry asks to wait.
    """

    def __init__(self, http_status: int, code: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.retry_after = retry_after
        if code == "UNAUTHORIZED":
            self.status = 401

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        return self.http_status in _PASSING


class Unreachable(EngineError):
    """No answer came, or a broken one. `passes`: the same request may succeed later."""

    def __init__(self, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


class Unauthorized(EngineError):
    """The registry does not know these credentials."""

    status = 401


class Corrupted(InvalidRequest):
    """What was received is not what its digest says: another try, or another server, may bring the right bytes."""


def from_answer(status: int, body: bytes, challenges: Iterable[str] = (), retry_after: float = 0.0) -> RegistryError:
    """The error that an answer tells: by its challenge, its body, or its status.

    Parameters: `challenges` are the `WWW-Authenticate` headers.
    """
    code, message = _said(body)
    for challenge in parse(challenges):
        if found := _BY_CHALLENGE.get(challenge.parameters.get("error", "")) if challenge.scheme == "bearer" else None:
            code, message = found, challenge.parameters.get("error_description", "")[:400]
            break
    if not code and not message:
        code = _BY_STATUS.get(status, "")
    message = message or _MEANINGS.get(code, f"received unexpected HTTP status: {status}")
    said = code.lower().replace("_", " ")
    if retry_after > 1:
        message = f"{message} (the registry asks to wait {retry_after:.0f} seconds)"
    return RegistryError(status, code, f"{said}: {message}" if said else message, retry_after)


def _said(body: bytes) -> tuple[str, str]:
    """The first error's code and message in a body; "" for what it does not say."""
    try:
        document: Any = msgspec.json.decode(body)
        first = document["errors"][0] if document.get("errors") else document
        return str(first.get("code") or "")[:80], str(first.get("message") or first.get("details") or "")[:400]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, LookupError, TypeError):
        return "", ""


def of_pull(error: RegistryError, reference: Reference) -> EngineError:
    """What `docker pull` says to it."""
    if error.code == "DENIED":
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
            f"'docker login': {error.message}"
        )
    if error.code == "NAME_UNKNOWN":
        return NotFound(f"repository {reference.familiar_name} not found: {error.message}")
    if error.code == "MANIFEST_UNKNOWN" or error.http_status == 404:
        return NotFound(f"manifest for {reference.familiar} not found: {error.message}")
    return error
