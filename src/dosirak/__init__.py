"""Dosirak: containers inside a Jupyter notebook.

`%load_ext dosirak` brings the magics; `dosirak.engine` is the container engine they talk to.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics (`%load_ext dosirak`)."""
    from dosirak.magics import load_ipython_extension as load

    load(shell)
