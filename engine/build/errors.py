"""The build's own failures, over the engine's typed errors."""

from __future__ import annotations

from dosirak.engine.errors import EngineError, InvalidRequest, printable


class DockerfileError(InvalidRequest):
    """A Dockerfile can't be read: one clear line, then where it is and the lines themselves.

    Parameters: `problem` what is wrong, `first` and `last` the 1-based lines it concerns (0: the whole file),
    `filename` and `source` for showing them; both may be added on the way up with `located`.
    """

    def __init__(self, problem: str, first: int = 0, last: int = 0, filename: str = "", source: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.first = first
        self.last = max(first, last)
        self.filename = filename
        self.source = source

    def located(self, filename: str, source: str) -> DockerfileError:
        """The same error that knows its file's name and text."""
        return type(self)(self.problem, self.first, self.last, filename, source)

    @property
    def message(self) -> str:
        """`dockerfile parse error on line 7: …`, and the lines concerned when the text is known."""
        head = f"dockerfile parse error on line {self.first}: {self.problem}" if self.first else self.problem
        return printable(head + self._excerpt())

    def __str__(self) -> str:
        return self.message

    def _excerpt(self) -> str:
        if not self.source or not self.first:
            return ""
        lines = self.source.splitlines()
        shown = range(max(1, self.first - 2), min(len(lines), self.last + 2) + 1)
        rule = "-" * 20
        marked = (
            f"{number:4} | {'>>>' if self.first <= number <= self.last else '   '} {lines[number - 1]}".rstrip()
            for number in shown
        )
        place = f"{self.filename or 'Dockerfile'}:{self.first}"
        return "\n" + "\n".join([place, rule, *marked, rule])


class CommandFailed(EngineError):
    """A RUN step's command ended with a status other than 0.

    Parameters: `command` as Docker words it ("/bin/sh -c exit 3"), `code` its exit status.
    """

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self.code = code
