"""Magics: a client of the Docker API inside a notebook, and the `dosirak` command.

`grammar` is the command lines, `commands` what they do, `doors` where they come from and where results go,
`objects` and `tables` what they yield, `look` how it is worded and coloured.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics. Imports neither docker-py nor pandas nor click: the first command does."""
    from dosirak.magics.extension import register

    register(shell)
