"""The zygote: a small single-threaded process, all its modules imported, that forks a monitor for each launch.

Started by the service as `python -S -E -I launcher.py FD FD`, two SOCK_SEQPACKET sockets: for new containers and for
execs. A launch is one message: a descriptor of a memfd with the request's JSON, then the request's own descriptors
(`monitor.Monitor`). It answers nothing, the monitor does. When the service ends it ends too; monitors do not.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# -I leaves only the standard library on the path; the package is found from this file's own place.
if __name__ == "__main__" and not __package__:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_here))))

import _socket  # noqa: E402
import gc  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import struct  # noqa: E402
import time  # noqa: E402

from dosirak.engine.runtime import cgroups, syscalls, vfork  # noqa: E402
from dosirak.engine.supervision import monitor, rehearsal, settling, wire  # noqa: E402

_SEALED = "DOSIRAK_LAUNCHER_SEALED"

# Monitors that wait, forked and warm: two a kind, so that one is there while another's replacement is made.
_SPARES = {"create": 2, "exec": 2}
_PID = struct.Struct("i")
# Seconds: a replacement's fork and warm-up (5 ms of processor time) stay out of the way of the launch under way.
_REST = 0.012
_PAUSE = 0.05
# Seconds for spares to end.
_PATIENCE = 1.0
# So many spares may die in a row, none taken between them, before the launcher ends: who asks is then told.
_MOST_DEATHS = 40


def serve(sockets: dict[str, wire.Socket]) -> None:
    """Keep spare monitors waiting for messages until the service hangs up.

    Forking costs a millisecond and the first run of each line in a fork one more (copy-on-write of the pages it
    touches): spares pay both before they are needed. The spares of a kind wait on one socket; the kernel gives each
    message to one of them, which then asks for its replacement. That is made once the launch is over, or at once if no
    spare is left. One that dies while it waits is replaced as well.
    """
    taken_read, taken_write = os.pipe()
    poll = select.poll()
    poll.register(taken_read, select.POLLIN)
    for requests in sockets.values():
        poll.register(requests.fileno(), 0)  # POLLHUP alone
    spares: dict[int, tuple[str, int]] = {}  # pidfd → kind, pid
    owed: list[str] = []  # kinds of those taken and not replaced yet
    due, deaths = 0.0, 0

    def add(kind: str) -> None:
        nonlocal owed
        pid = _fork_spare(kind, sockets, taken_write)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            owed.append(kind)  # killed before it could wait
            return
        spares[pidfd] = kind, pid
        poll.register(pidfd, select.POLLIN)

    def forget(pidfd: int) -> str:
        kind, _ = spares.pop(pidfd)
        poll.unregister(pidfd)
        os.close(pidfd)
        return kind

    for kind, number in _SPARES.items():
        for _ in range(number):
            add(kind)
    # Now that somebody serves who is in a hurry: it takes 0.1 s.
    try:
        settling.freeze()
    except OSError:
        pass  # then monitors are larger
    while True:
        ready = [fd for fd, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000 if owed else None)]
        if taken_read in ready:
            pids = {pid for (pid,) in _PID.iter_unpack(os.read(taken_read, 64 * _PID.size))}
            owed += [forget(pidfd) for pidfd in [pidfd for pidfd, (_, pid) in spares.items() if pid in pids]]
            due, deaths = time.monotonic() + _REST, 0
        for fd in ready:
            if fd in spares:
                deaths += 1
                cgroups.forget_ready(spares[fd][1])
                if deaths > _MOST_DEATHS:
                    sys.exit("dosirak launcher: the processes that it forks die at once")
                time.sleep(_PAUSE)  # whatever kills spares must not make this a fork bomb
                add(forget(fd))
            elif fd != taken_read and any(fd == requests.fileno() for requests in sockets.values()):
                _await_ends(list(spares))
                return
        waiting = {kind for kind, _ in spares.values()}
        if owed and (time.monotonic() >= due or not waiting.issuperset(owed)):
            made, owed = owed, []
            for kind in made:
                add(kind)


def _await_ends(pidfds: list[int]) -> None:
    """The spares end as we do; whoever waits for us may then take away what they had made."""
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    deadline = time.monotonic() + _PATIENCE
    while pidfds and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            pidfds.remove(pidfd)


def _fork_spare(kind: str, sockets: dict[str, wire.Socket], taken: int) -> int:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        requests = sockets.pop(kind)
        # Should the launcher be killed, a request that no spare is left for must see that nobody listens.
        for sock in sockets.values():
            sock.close()
        _be_spare(requests, taken, for_execs=kind == "exec")
    return pid


def _be_spare(requests: wire.Socket, taken: int, *, for_execs: bool) -> NoReturn:
    def tell() -> None:
        os.write(taken, _PID.pack(os.getpid()))
        os.close(taken)

    monitor.main(requests, tell, for_execs=for_execs)


def run_sealed() -> None:
    """Re-execute this interpreter from a read-only detached mount of itself (kernel 5.12).

    An image may make a container execute /proc/self/exe, which until then is our interpreter; on this mount nobody can
    open it for writing, whatever their rights (CVE-2019-5736).
    """
    interpreter = os.path.realpath(sys.executable)
    tree = syscalls.open_tree(syscalls.AT_FDCWD, interpreter, syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY)
    for fd in sys.argv[1:]:
        os.set_inheritable(int(fd), True)
    # argv[0] stays the real path: Python finds its library by it.
    os.execve(tree, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _SEALED: "1"})


def main() -> None:
    """The launcher process."""
    if not os.environ.get(_SEALED):
        run_sealed()
    sockets = {kind: _socket.socket(fileno=int(fd)) for kind, fd in zip(_SPARES, sys.argv[1:], strict=True)}
    for sock in sockets.values():
        os.set_inheritable(sock.fileno(), False)
    os.chdir("/")
    os.environ.clear()
    _stop_ignoring_signals()
    vfork.prepare_stack()
    rehearsal.rehearse()
    # Monitors are reaped by the kernel; the terminal's signals are for the client, not for containers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _protect_from_oom()
    cgroups.sweep_ready()
    # Inherited by all that is forked from here until it execs: a process of a container that an exec joins can't trace
    # it, nor open its /proc/N/exe and /proc/N/fd, not even in its first moments there (CVE-2016-9962).
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, every page in each fork
    serve(sockets)


def _stop_ignoring_signals() -> None:
    """What an ancestor ignores (nohup; glibc's posix_spawn: its own 32 and 33) would be ignored in containers too."""
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for reserved in (32, 33):
        syscalls.default_signal(reserved)


def _protect_from_oom() -> None:
    """A supervisor must outlive what it supervises (CVE-2019-14891); needs CAP_SYS_RESOURCE, so as far as allowed."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"-999")
    except OSError:
        pass


if __name__ == "__main__":
    main()
