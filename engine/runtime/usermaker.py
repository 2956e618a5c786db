"""A program: makes a user namespace and a network namespace that belongs to it, and hands both over.

Run by the service as `python -S -E -I usermaker.py FD WHAT`. FD: a stream socket, by which two descriptors go out: the
user namespace's and the network namespace's. WHAT: its ids, "INSIDE:OUTSIDE:SIZE,…" for users and groups alike, or the
number of a descriptor of a user namespace that is there. A process of its own, since the service can't: it has threads
(unshare(2), setns(2)). A network namespace belongs to the user namespace in which it was made, and only root of
that one can do anything in it.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # -I leaves only the standard library on the path; the package is found from this file's own place.
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_here))))

import _socket

from dosirak.engine.runtime import namespaces, syscalls

_FIELDS = ("containerID", "hostID", "size")  # runtime-spec, config-linux.md


def main() -> None:
    """The program."""
    answer, what = int(sys.argv[1]), sys.argv[2]
    user = int(what) if what.isdecimal() else namespaces.make_user(_mappings(what))
    namespaces.enter_user(user)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (user, network))
    _socket.socket(fileno=answer).sendmsg([b"!"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def _mappings(text: str) -> dict[str, list[dict[str, int]]]:
    entries = [dict(zip(_FIELDS, map(int, entry.split(":")), strict=True)) for entry in text.split(",")]
    return {"uidMappings": entries, "gidMappings": entries}


if __name__ == "__main__":
    main()
