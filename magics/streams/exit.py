"""Waiting for a container's end without a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dosirak.magics.errors import DosirakError

if TYPE_CHECKING:
    import socket

    from dosirak.magics.engine import Engine


class ExitWatch:
    """POST /containers/{id}/wait, asked before the start: its head comes at once, its body when the container ends.

    Parameters: `condition` is not-running, next-exit or removed.
    """

    def __init__(self, engine: Engine, identity: str, condition: str) -> None:
        self._engine = engine
        self._identity = identity
        self._response: Any = engine.call("POST", f"/containers/{identity}/wait", {"condition": condition}, stream=True)
        self._reader = self._response.raw._fp.fp
        self._socket: socket.socket = self._reader.raw._sock

    @property
    def over(self) -> bool:
        """Whether the end has been told together with the answer's head."""
        self._socket.setblocking(False)
        try:
            return bool(self._reader.peek())
        finally:
            self._socket.setblocking(True)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the container has ended."""
        return self._socket.fileno()

    def status(self) -> int:
        """Return the exit status, waiting for it.

        Raises DosirakError when the engine could not tell, or went away.
        """
        import requests

        try:
            found = self._response.json()
        except (ValueError, requests.exceptions.RequestException):
            found = self._ask_again()
        if message := (found.get("Error") or {}).get("Message"):
            raise DosirakError(f"Error waiting for container: {message}", 125)
        return int(found["StatusCode"])

    def _ask_again(self) -> Any:
        """The service went away while we waited: the container didn't, and the next service knows it."""
        try:
            self._engine.revive()
            return self._engine.post(f"/containers/{self._identity}/wait")
        except DosirakError as error:
            raise DosirakError(
                f"the engine went away; the container may still run (see: container ps): {error.message}", 125
            ) from error

    def close(self) -> None:
        """Stop waiting."""
        self._response.close()
