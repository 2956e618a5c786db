"""The zygote: a small single-threaded process, all its modules imported, that forks a monitor for each launch.

Started by the service as `python -S -E -I launcher.py FD`, FD being a SOCK_SEQPACKET socket. A launch is one message:
a descriptor of a memfd with the request's JSON, then the request's own descriptors (`monitor.Monitor`). It answers
nothing: the monitor does. When the service ends, so does the launcher; monitors live on.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# -I leaves only the standard library on the path; the package is found from this file's own place.
if __name__ == "__main__" and not __package__:
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_here))))

import gc  # noqa: E402
import json  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402

from dosirak.engine.runtime import monitor, syscalls  # noqa: E402

_MAX_FDS = 253  # SCM_MAX_FD (unix(7))
_SEALED = "DOSIRAK_LAUNCHER_SEALED"

# Monitors that wait, forked and warm, for a launch: two, so that one is there while its replacement is being made.
_SPARES = 2


def serve(requests: socket.socket) -> None:
    """Keep spare monitors waiting for messages until the service hangs up.

    Forking costs a millisecond and the first run of each line in a fork one more (copy-on-write of the pages it
    touches): spares pay both before they are needed. They all wait on the one socket; the kernel gives each message
    to one of them, which then asks for its replacement.
    """
    taken_read, taken_write = os.pipe()
    poll = select.poll()
    poll.register(taken_read, select.POLLIN)
    poll.register(requests.fileno(), 0)  # POLLHUP alone
    for _ in range(_SPARES):
        _fork_spare(requests, taken_write)
    while True:
        for fd, _ in poll.poll():
            if fd != taken_read:
                return
            for _ in os.read(taken_read, 64):
                _fork_spare(requests, taken_write)


def _fork_spare(requests: socket.socket, taken: int) -> None:
    if os.fork():
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    monitor.warm_up()
    data, fds, _, _ = socket.recv_fds(requests, 16, _MAX_FDS)
    if not data:
        os._exit(0)
    os.write(taken, b"x")
    os.close(taken)
    requests.close()
    monitor.main(_read_request(fds[0]), fds[1:])


def _read_request(memfd: int) -> dict[str, Any]:
    with open(memfd, "rb") as file:
        file.seek(0)
        request: dict[str, Any] = json.loads(file.read())
    return request


def run_sealed() -> None:
    """Re-execute this interpreter from a read-only detached mount of itself (kernel 5.12).

    An image may make a container execute /proc/self/exe, which until then is our interpreter; on this mount nobody can
    open it for writing, whatever their rights (CVE-2019-5736).
    """
    interpreter = os.path.realpath(sys.executable)
    tree = syscalls.open_tree(syscalls.AT_FDCWD, interpreter, syscalls.OPEN_TREE_CLONE)
    syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_RDONLY)
    os.set_inheritable(int(sys.argv[1]), True)
    # argv[0] stays the real path: Python finds its library by it.
    os.execve(tree, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _SEALED: "1"})


def main() -> None:
    """The launcher process."""
    if not os.environ.get(_SEALED):
        run_sealed()
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.set_inheritable(False)
    os.chdir("/")
    os.environ.clear()
    # Monitors are reaped by the kernel; the terminal's signals are for the client, not for containers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _protect_from_oom()
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, every page in each fork
    serve(requests)


def _protect_from_oom() -> None:
    """A supervisor must outlive what it supervises (CVE-2019-14891); needs CAP_SYS_RESOURCE, so as far as allowed."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"-999")
    except OSError:
        pass


if __name__ == "__main__":
    main()
