"""A foreground command's exit status, as a number that can show itself."""

from __future__ import annotations

from typing import Any

from dosirak.magics.look import theme, words
from dosirak.magics.look.html import dot, join, tag


class ExitStatus(int):
    """An int: `status == 0`, `if status: …`. Success shows nothing in a cell, failure shows one line.

    A command that ends with another status than 0 has done its work as far as the magic is concerned: it is a value,
    not an error, so the next cell runs (as after `!command`). `check()` makes it an error where that is wanted.
    """

    out_of_memory = False
    container = ""

    @classmethod
    def of(cls, code: int, container: str = "", out_of_memory: bool = False) -> ExitStatus:
        """Return the status `code` of the container named so."""
        status = cls(code)
        status.container, status.out_of_memory = container, out_of_memory
        return status

    def check(self) -> ExitStatus:
        """Return itself when it is 0; raise DosirakError with the status otherwise."""
        if self:
            from dosirak.magics.errors import DosirakError

            raise DosirakError(self.words, int(self))
        return self

    @property
    def words(self) -> str:
        """What is shown: "exit status 137 (SIGKILL: out of memory)"."""
        return words.exit_status(int(self), self.out_of_memory)

    def _ipython_display_(self) -> None:
        if self:
            from IPython.display import display

            display(self._bundle(), raw=True)  # type: ignore[no-untyped-call]

    def _bundle(self) -> dict[str, Any]:
        style = f"color:{theme.GREY};font-size:{theme.NORMAL}"
        return {"text/plain": self.words, "text/html": tag("div", dot(theme.RED), join(" ", self.words), style=style)}
