"""Installing the kernelspec where Jupyter looks for it. A wheel brings it along; this is for everything else."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

NAME = "dosirak"
SPEC = Path(__file__).parent / "spec"


def install(prefix: str | None = None, *, user: bool = False) -> Path:
    """Install the kernelspec "Dosirak" for this very interpreter; return where.

    Parameters: `prefix` is an installation's root (this interpreter's unless given), `user` the home directory's.

    Raises OSError when the place can't be written.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / NAME
        shutil.copytree(SPEC, copy)
        document = json.loads((copy / "kernel.json").read_text())
        # Jupyter may run in another environment than the kernel: the interpreter is named in full.
        document["argv"][0] = sys.executable
        (copy / "kernel.json").write_text(json.dumps(document, indent=1) + "\n")
        place = None if user else prefix or sys.prefix
        return Path(KernelSpecManager().install_kernel_spec(str(copy), NAME, user=user, prefix=place))


def uninstall() -> Path:
    """Remove the kernelspec; return where it was. Raises KeyError when there is none."""
    from jupyter_client.kernelspec import KernelSpecManager

    return Path(KernelSpecManager().remove_kernel_spec(NAME))
