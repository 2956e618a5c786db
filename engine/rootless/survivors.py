"""A process that still lives in the namespaces of a keeper that was killed: a container's monitor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from dosirak.engine.supervision import wire
from dosirak.engine.supervision.services import SOCKET


def find(containers: Path) -> int:
    """The pid of any container's monitor, which answers on its bundle's socket; 0: no container runs."""
    try:
        bundles = [entry for entry in containers.iterdir() if (entry / SOCKET).exists()]
    except OSError:
        return 0
    return next((pid for bundle in bundles if (pid := _listener(bundle))), 0)


def _listener(bundle: Path) -> int:
    """Who listens on the bundle's socket, as the kernel noted it."""
    # By a short path: the bundle's may be too long for a socket's address.
    folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(f"/proc/self/fd/{folder}/{SOCKET}")
            pid, uid = wire.peer(sock)
        except OSError:
            return 0
        finally:
            os.close(folder)
    # What a container was given a bundle's socket for, nobody knows: it must be ours, and no other's process.
    return pid if uid == os.geteuid() else 0
