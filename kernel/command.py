"""`dosirak kernel install|uninstall`: loaded by name from the magics' command tree, which knows nothing of kernels."""

from __future__ import annotations

from dosirak.magics.doors import Result
from dosirak.magics.errors import DosirakError
from dosirak.magics.grammar.flags import Command, Group, flag, switch

kernel = Group("kernel", help="Manage the Jupyter kernel “Dosirak”.")


@kernel.command("install", cls=Command, usage="[OPTIONS]", at_most=0)
@switch("--user", help="Install for this user instead of this Python environment.")
@flag("--prefix", help="Install under this prefix.")
def install_command(user: bool, prefix: str) -> Result:
    """Install the kernelspec, so that Jupyter offers “Dosirak”."""
    from dosirak.kernel.install import install

    try:
        place = install(prefix or None, user=user)
    except OSError as error:
        raise DosirakError(f"the kernelspec can't be installed: {error}; try --user or --prefix") from error
    return Result(plain=f"Installed kernelspec dosirak in {place}")


@kernel.command("uninstall", cls=Command, usage="", at_most=0)
def uninstall_command() -> Result:
    """Remove the kernelspec."""
    from dosirak.kernel.install import uninstall

    try:
        return Result(plain=f"Removed kernelspec dosirak from {uninstall()}")
    except KeyError as error:
        raise DosirakError("no kernelspec dosirak is installed") from error
