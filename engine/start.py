"""Find this user's engine service, or start it: the one thing of the engine that clients import.

Standard library only, and little of it, since every notebook pays for this import. The protocol with the
service (`engine/service/__main__.py`) is three descriptors and a lock:

- `<run>/lock` is flocked by the service for its whole life. The starter takes the lock, hands the locked
  descriptor to the service it spawns, and lets go: whoever finds the lock taken waits for the socket instead.
- the readiness pipe: the service writes ``+`` when it answers requests, ``-reason`` when it gives up.
- `<run>/service.log` takes its standard output and error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import sys
import time

from dosirak.engine.errors import Unavailable

TYPE_CHECKING = False  # as typing's, whose import would cost more than everything else here
if TYPE_CHECKING:
    from pathlib import Path

    from dosirak.engine.settings import Settings

READY_TIMEOUT = 20.0
"""Seconds a service may take until it answers; far above the usual 0.3 s, for machines under heavy load."""

SOCKET_PATH_MAX = 107
"""Bytes of a unix socket's path: sun_path less its final NUL, unix(7)."""

LOCK_FD, READY_FD = 3, 4
"""The descriptors under which a spawned service finds its lock and its readiness pipe."""

_ANSWER_TIMEOUT = 5.0
_LOG_LIMIT = 1 << 20
# All but SIGKILL and SIGSTOP, which have no handlers, and the two that glibc keeps for itself.
_SIGNALS = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]
_KEPT_ENVIRONMENT = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SUDO_UID"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX", "DOCKER_CONFIG"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "CONTAINERS_REGISTRIES_CONF"),
    )
)
_KEPT_PREFIXES = ("LC_", "XDG_", "DOSIRAK_")


class ServiceNotStartable(Unavailable):
    """The engine can't be started here; the message says why and what to do."""


def ensure(settings: Settings) -> Path:
    """Return the socket of the running engine service, starting the service first when nobody answers.

    Safe to call from several processes at once: one service results. Takes about 0.3 ms when the service runs,
    under 400 ms when it has to be started.

    Raises ServiceNotStartable with the reason and what to do about it.
    """
    path = settings.socket
    if answers(path):
        return path
    check_possible(settings)
    deadline = time.monotonic() + READY_TIMEOUT
    lock = os.open(settings.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        while not _try_lock(lock):
            # Another client is starting the service, or the service has not opened its socket yet.
            if answers(path):
                return path
            if time.monotonic() > deadline:
                raise ServiceNotStartable(
                    f"the engine service (pid {_holder(lock)}) holds {settings.run}/lock but does not answer on {path};"
                    f" end that process, or see {settings.run}/service.log"
                )
            time.sleep(0.004)
        if not answers(path):  # a service of the previous lock holder may have come up in between
            _start(settings, lock, deadline)
    finally:
        os.close(lock)
    return path


def answers(path: Path) -> bool:
    """Whether a service of this user or root answers on the unix socket `path`; waits for one that is still starting.

    A connection alone proves nothing: the kernel makes it for a service that is starting, hanging or being killed. Nor
    does an answer: in a directory of somebody else's he may listen, and be told passwords (SO_PEERCRED, unix(7)).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
            listener = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if int.from_bytes(listener[4:8], sys.byteorder) not in (0, os.geteuid()):
                return False
            probe.sendall(b"HEAD /_ping HTTP/1.0\r\n\r\n")
            return probe.recv(5) == b"HTTP/"
        except OSError:
            return False


def check_possible(settings: Settings) -> None:
    """Make the engine's directories. Raises ServiceNotStartable for what is known to fail, with a remedy."""
    path = os.fsencode(settings.socket)
    if len(path) > SOCKET_PATH_MAX:
        raise ServiceNotStartable(
            f"{settings.socket}: {len(path)} bytes are too long for a unix socket (at most {SOCKET_PATH_MAX});"
            " set DOSIRAK_RUN to a shorter directory"
        )
    for directory, mode in ((settings.data, 0o710), (settings.run, 0o700)):
        _make_private(directory, mode)


def _make_private(directory: Path, mode: int) -> None:
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise ServiceNotStartable(
            f"{directory}: the engine can't make its directory here ({error.strerror});"
            " set DOSIRAK_ROOT and DOSIRAK_RUN to directories you can write"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ServiceNotStartable(
            f"{directory}: is not a directory of this user; set DOSIRAK_ROOT and DOSIRAK_RUN to directories of your own"
        )
    if found.st_mode & 0o777 & ~mode:
        # Others could walk in and run an image's setuid files, or reach the socket (CVE-2021-41091).
        directory.chmod(mode)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise ServiceNotStartable(
            f"{directory}: not writable; set DOSIRAK_ROOT and DOSIRAK_RUN to directories you can write"
        )


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.ENOLCK:
            raise ServiceNotStartable("the file system of DOSIRAK_RUN has no file locks; choose another") from error
        raise
    return True


def _holder(lock: int) -> str:
    try:
        return os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
    except OSError:
        return "?"


def _start(settings: Settings, lock: int, deadline: float) -> None:
    log = _open_log(settings.run / "service.log")
    offset = os.lseek(log, 0, os.SEEK_END)
    ready, ready_writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            _spawn(settings, log, lock, ready_writer)
        finally:
            os.close(ready_writer)
        verdict = _read_verdict(ready, deadline)
        if verdict == b"+":
            return
        raise ServiceNotStartable(_reason(settings, verdict, log, offset))
    finally:
        os.close(ready)
        os.close(log)


def _open_log(path: Path) -> int:
    log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(log).st_size > _LOG_LIMIT:
        os.ftruncate(log, 0)
    return log


def _spawn(settings: Settings, log: int, lock: int, ready: int) -> None:
    """Start the service as a session of its own that is nobody's child.

    The spawned interpreter forks before it imports anything (see the service's `__main__`), so the process reaped
    here ends within milliseconds and the notebook never has a zombie or a child to kill at its own shutdown.
    posix_spawn, because fork() of a process with threads (IPython) is neither safe nor quick.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_ENVIRONMENT or name.startswith(_KEPT_PREFIXES)
    }
    environment["DOSIRAK_ROOT"] = os.fspath(settings.data)
    environment["DOSIRAK_RUN"] = os.fspath(settings.run)
    environment["DOSIRAK_IDLE_TIMEOUT"] = repr(settings.idle_timeout)
    # Out of the way of the fixed numbers first: a dup2 onto 3 must not hit the one that is still to be moved to 4.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, READY_FD + 1) for fd in (lock, ready, log)]
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        moved.append(null)
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, moved[2], 1),
            (os.POSIX_SPAWN_DUP2, moved[2], 2),
            (os.POSIX_SPAWN_DUP2, moved[0], LOCK_FD),
            (os.POSIX_SPAWN_DUP2, moved[1], READY_FD),
        ]
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "dosirak.engine.service", "--spawned"],
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_SIGNALS,
        )
    except OSError as error:
        raise ServiceNotStartable(f"{sys.executable}: can't be executed ({error.strerror})") from error
    finally:
        for fd in moved:
            os.close(fd)
    os.waitpid(pid, 0)


def _read_verdict(ready: int, deadline: float) -> bytes | None:
    """Return what the service said on its readiness pipe; None when it said nothing in time."""
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    said = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return None
        data = os.read(ready, 4096)
        said += data
        if not data or said == b"+":
            return said


def _reason(settings: Settings, verdict: bytes | None, log: int, offset: int) -> str:
    where = settings.run / "service.log"
    if verdict is None:
        return f"the engine service did not become ready within {READY_TIMEOUT:.0f} s; see {where}"
    if verdict.startswith(b"-"):
        return verdict[1:].decode(errors="replace").strip()
    tail = os.pread(log, 65536, offset).decode(errors="replace").strip().splitlines()
    last = tail[-1] if tail else "it wrote nothing"
    return f"the engine service ended while starting: {last} (see {where})"
