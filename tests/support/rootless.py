"""`python -m support.rootless MODE ARGUMENT…` runs pytest as an ordinary user; root starts it, and changes nothing of
the machine for it.

In a mount namespace of its own the machine gets a user with a range of ids: copies of /etc/passwd and of /etc/subuid
lie over the real ones. A Python that only root can reach (below /root) is shown there too.

MODE `outside`: pytest is that user, its engines enter user namespaces of their own. MODE `inside`: pytest itself has
entered one, with a network of its own, and is root in there: tests that put rooms together in their own process run in
it, and their services are born in it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "DOSIRAK_TESTS_ROOTLESS"
"""What it is that runs: "outside", "inside", or unset for root."""

USER, UID, FIRST, COUNT = "dosirak-test", 61234, 2_000_000, 65536
_FILES = {
    "passwd": f"{USER}:x:{UID}:{UID}::/nonexistent:/bin/sh\n",
    "group": f"{USER}:x:{UID}:\n",
    "subuid": f"{USER}:{FIRST}:{COUNT}\n",
    "subgid": f"{USER}:{FIRST}:{COUNT}\n",
}


def become_user(folder: Path) -> None:
    """Leave root for good, with a range of ids. Parameters: `folder`: for the copies, and the user's home."""
    from dosirak.engine.runtime import syscalls as sys_

    sys_.unshare(sys_.CLONE_NEWNS)
    sys_.mount(None, "/", None, sys_.MS_REC | sys_.MS_PRIVATE)
    for name, line in _FILES.items():
        place, copy = Path("/etc", name), folder / name
        copy.write_text((place.read_text() if place.exists() else "") + line)
        copy.chmod(0o644)
        sys_.mount(str(copy), str(place), None, sys_.MS_BIND)
    home = folder / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    become(UID)
    os.environ.update(HOME=str(home), USER=USER, LOGNAME=USER, TMPDIR="/tmp")
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        os.environ.pop(name, None)


def become(uid: int) -> None:
    """Be this user for good, who finds the Python that runs here; in a mount namespace of its own."""
    _show_python(Path(sys.executable).resolve())
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _show_python(python: Path) -> None:
    """Below a home that is closed to others: nothing but the interpreter's own directory is shown there."""
    from dosirak.engine.runtime import syscalls as sys_

    closed = next((folder for folder in reversed(python.parents) if not folder.stat().st_mode & 0o001), None)
    if closed is None:
        return
    own = python.parent.parent
    fd = os.open(own, os.O_PATH | os.O_DIRECTORY)
    sys_.mount("tmpfs", str(closed), "tmpfs", 0, "mode=755")
    own.mkdir(parents=True, mode=0o755)
    sys_.mount(f"/proc/self/fd/{fd}", str(own), None, sys_.MS_BIND | sys_.MS_REC)
    os.close(fd)


def enter(folder: Path) -> None:
    """Be root of a user namespace, as a service is, and of a network namespace with a loopback only."""
    from dosirak.engine import rootless
    from dosirak.engine.networks import links
    from dosirak.engine.networks.netlink import Netlink
    from dosirak.engine.runtime import syscalls as sys_
    from dosirak.engine.settings import Settings

    here = Path.cwd()
    keeper = rootless.enter(Settings(folder / "home", folder / "home"))
    assert keeper is not None
    os.chdir(here)  # another mount namespace begins at its root
    sys_.unshare(sys_.CLONE_NEWNET)
    with Netlink() as own:
        links.set_up(own, links.LOOPBACK)
    os.close(keeper.namespace)  # the keeper sees that somebody is left, and ends with the last


def remove(directory: Path) -> None:
    """Remove what a user's engine has left, which belongs to ids of its user namespace. Raises RuntimeError."""
    from dosirak.engine import rootless
    from dosirak.engine.settings import Settings

    run = tempfile.TemporaryDirectory(prefix="dosirak-remove-")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            keeper = rootless.enter(Settings(Path(run.name), Path(run.name)))
            assert keeper is not None
            shutil.rmtree(directory)
            keeper.end()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    run.cleanup()
    if status:
        raise RuntimeError(f"{directory} can't be removed")


def main(mode: str, arguments: list[str]) -> None:
    """The program."""
    assert os.geteuid() == 0, "needs root, to become somebody else"
    folder = Path(tempfile.mkdtemp(prefix="dosirak-user-", dir="/tmp"))
    folder.chmod(0o755)
    os.umask(0o022)
    pid = os.fork()
    if pid == 0:
        become_user(folder)
        if mode == "inside":
            enter(folder)
        os.environ.update({VARIABLE: mode, "PYTHONDONTWRITEBYTECODE": "1"})
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments])
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
