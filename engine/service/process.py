"""What the service process does to itself before it is an engine: forget the notebook, lock, listen.

Standard library only, and little of it: this runs before the socket is open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket

from dosirak.engine.errors import Conflict, HostLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

NOFILE = 1 << 20
"""Soft limit of open files, as Docker's: with more, programs that close "all" descriptors take minutes."""

_BACKLOG = 256
_UNLIMITED = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_CORE")


def forget_caller(keep: int) -> None:
    """Drop what a notebook or a shell left behind: descriptors from `keep` on, signals, limits, directory, umask."""
    os.closerange(keep, max(int(entry.name) for entry in os.scandir("/proc/self/fd")) + 1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # Python's own two: a client that goes away is an error return, not a death.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Containers inherit the limits: what a notebook's spawner lowered must not reach them.
    for name in _UNLIMITED:
        _set_soft_limit(getattr(resource, name), resource.RLIM_INFINITY)
    _set_soft_limit(resource.RLIMIT_NOFILE, NOFILE)
    _set_soft_limit(resource.RLIMIT_STACK, 8 << 20)
    os.chdir("/")
    os.umask(0o022)


def _set_soft_limit(number: int, wanted: int) -> None:
    """Set a soft limit, raising the hard one where it is in the way and the host allows it."""
    hard = resource.getrlimit(number)[1]
    enough = hard == resource.RLIM_INFINITY or (wanted != resource.RLIM_INFINITY and hard >= wanted)
    try:
        resource.setrlimit(number, (wanted, hard if enough else wanted))
    except (ValueError, OSError):
        resource.setrlimit(number, (hard, hard))  # no CAP_SYS_RESOURCE: as much as there is


def lock(path: Path, inherited: int | None = None) -> int:
    """Take a lock file for this process's life and write the pid into it.

    Parameters: `inherited`: a descriptor of the file, locked already. Raises Conflict naming the holder.
    """
    if inherited is None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    else:
        fd = inherited
        os.set_inheritable(fd, False)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "?"
        os.close(fd)
        raise Conflict(f"{path.parent}: another engine service (pid {holder}) is using it") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def listen(path: Path) -> socket.socket:
    """Listen on the unix socket `path`, for this user only; one that a dead service left is replaced at once.

    The caller holds the run directory's lock. Raises HostLimit when the host refuses.
    """
    # Bound beside and renamed: nobody ever finds a socket there that does not listen yet.
    beside = path.with_name("new.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        beside.unlink(missing_ok=True)
        before = os.umask(0o177)  # before bind: it is bind that makes the file
        try:
            listener.bind(os.fspath(beside))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        beside.rename(path)
    except OSError as error:
        listener.close()
        reason = error.strerror or errno.errorcode.get(error.errno or 0, str(error))
        raise HostLimit(f"{path}: can't listen here: {reason}") from error
    return listener


def report(ready: int | None, verdict: bytes) -> None:
    """Tell the starter, if there is one: ``+`` for ready, ``-reason`` for giving up."""
    if ready is None:
        return
    try:
        os.write(ready, verdict[:4000])
        os.close(ready)
    except OSError:
        pass  # it has gone, or was told already
