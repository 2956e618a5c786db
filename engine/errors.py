"""The engine's typed errors: one clear line each, with the HTTP status Docker answers with.

Messages name the thing first, say what is wrong, then what to do. Context is added on the way up
(`raise … from`), printed once at the door (`engine/api`, `magics`).
"""

from __future__ import annotations

import os

# Controls but tab and line feed, and what reorders text: a terminal would obey the names, commands and paths of others
# that a message quotes.
_UNSEEN = (*range(9), *range(11, 32), *range(127, 160), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPED = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _UNSEEN}


def printable(text: str) -> str:
    """The text with what no terminal should see written as escapes, as Go's %q does."""
    if text.isprintable():
        return text
    return text.translate(_ESCAPED).encode("utf-8", "backslashreplace").decode()


class EngineError(Exception):
    """Any failure the engine reports to a client. `status` is the HTTP status of Docker's API."""

    status = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))

    @property
    def message(self) -> str:
        """The one line a person sees."""
        return str(self)


class NotModified(EngineError):
    """The thing is already as asked (container already started or stopped)."""

    status = 304


class InvalidRequest(EngineError):
    """The request is malformed or asks for something impossible."""

    status = 400


class Forbidden(EngineError):
    """The thing exists but this operation on it is not allowed."""

    status = 403


class NotFound(EngineError):
    """No such container, image, network, file…"""

    status = 404


class Conflict(EngineError):
    """The thing's present state forbids it (name in use, container running)."""

    status = 409


class NotSupported(EngineError):
    """A real Docker feature this engine does not have (yet)."""

    status = 501


class Unavailable(EngineError):
    """The engine can't serve now (shutting down, host lacks something)."""

    status = 503


class HostLimit(EngineError):
    """The host refused: disk full, no permission, missing kernel feature."""

    status = 500


def host_limit(what: str, error: OSError) -> HostLimit:
    """What the kernel refused for want of something, as one line: "x: too many open files"."""
    return HostLimit(f"{what}: {os.strerror(error.errno or 0).lower()}")


class StartFailed(InvalidRequest):
    """A container's process could not be started; Docker answers 400 and the container gets `exit_code`.

    Parameters: `exit_code` is 127 (not found), 126 (can't execute) or 128 (anything else).
    """

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code
