"""What a person sees when something goes wrong: one line, in Docker's words, and an exit status."""

from __future__ import annotations

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DAEMON = "Error response from daemon: "
"""What Docker's clients put before a message of the engine."""


class DosirakError(Exception):
    """A failure that a person can act on: shown as its message, never as a traceback.

    A cell that raises it counts as failed, so "run all" stops there (a plain message on stderr would not do that).
    `exit_code` is what the docker command would end with: 125 for the engine's refusal to run, 126 and 127 for a
    command that can't be executed or is not there, 1 otherwise.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def message(self) -> str:
        """The one line."""
        return str(self)

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines in place of a traceback. Red for terminals and for JupyterLab alike.
        from dosirak.magics.look.text import visible

        return [f"\x1b[31m{visible(self.message)}\x1b[39m"]


class UsageError(DosirakError):
    """The command line can't be understood; nothing was sent to the engine."""

    def __init__(self, message: str, exit_code: int = 125) -> None:
        super().__init__(message, exit_code)


class Interrupted(DosirakError):
    """The person interrupted a cell while a container ran in it."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message, exit_code)


class NotSupported(UsageError):
    """A real Docker command or flag that Dosirak does not have."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the known word nearest to `word`, or nothing."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
