"""Seccomp listeners (linux.seccomp.listenerPath): whoever listens there decides about the calls that a filter asks
about, by a descriptor that comes with the process's state (runtime-spec, "The Container Process State").

    {"ociVersion", "fds", "pid", "metadata", "state"}, and SCM_RIGHTS

The process sends it itself, after its filter is loaded: so the filter has to let sendmsg(2) through (the compiler sees
to that).
"""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = "1.2.0"
_NEW_LISTENER = 8  # linux/seccomp.h, SECCOMP_FILTER_FLAG_NEW_LISTENER
_NAME = "seccompFd"


def wanted(program: bytes) -> bool:
    """Whether a compiled filter asks anybody."""
    return bool(int.from_bytes(program[:4], "little") & _NEW_LISTENER)


def connect(path: str) -> int:
    """A descriptor of a connection to the listener. Raises OSError, which names it."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError as error:
        sock.close()
        text = f"connecting to the seccomp listener: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, text, path) from error
    return sock.detach()


def state(spec: dict[str, Any], bundle: str, pid: int) -> bytes:
    """The container process state.

    Parameters: `spec`: config.json; for who joins a container linux.seccomp has the container's `state` in it; `pid`:
    the process's, as the listener sees it.
    """
    import json  # it takes its time, and few have a listener

    asked = spec["linux"]["seccomp"]
    container = {"ociVersion": _VERSION, "id": os.path.basename(bundle), "status": "creating", "pid": pid}
    container |= {"bundle": bundle, "annotations": spec.get("annotations") or {}}
    told = {
        "ociVersion": _VERSION,
        "fds": [_NAME],
        "pid": pid,
        "metadata": asked.get("listenerMetadata") or "",
        "state": container | (asked.get("state") or {}),
    }
    return json.dumps(told).encode()


def send(connection: int, told: bytes, notifications: int) -> None:
    """Hand the descriptor over, and close both. Raises OSError."""
    sock = _socket.socket(fileno=connection)
    sock.sendmsg([told], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, notifications.to_bytes(4, "little"))])
    os.close(notifications)
    sock.close()
