"""An IPython kernel in which `%container` works in the first cell."""

from __future__ import annotations

from typing import Any

from ipykernel.ipkernel import IPythonKernel

from dosirak import __version__

BANNER = f"""\
Dosirak {__version__}: containers in a notebook

  %container run --rm dosirak/host echo hello     run a container
  %container ps -a                                list them, as a DataFrame
  %%dockerfile -t NAME                            build an image; the cell is the Dockerfile
  %topology                                       draw bridges, wires, addresses
  %container, %image, %docker, %dosirak status    and what there is besides; ? after any of them helps
"""


class DosirakKernel(IPythonKernel):
    """IPython with the extension `dosirak` loaded, and a greeting."""

    implementation = "dosirak"
    implementation_version = __version__

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        shell: Any = self.shell
        shell.extension_manager.load_extension("dosirak")

    @property
    def banner(self) -> str:  # type: ignore[override]
        """What a console shows first."""
        return f"{BANNER}\n{super().banner}"
