"""Namespaces of config.json: which are made by clone, which are joined, and the settings some need.

namespaces(7), user_namespaces(7), time_namespaces(7).
"""

from __future__ import annotations

import os

from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FLAGS = {
    "mount": sys.CLONE_NEWNS,
    "uts": sys.CLONE_NEWUTS,
    "ipc": sys.CLONE_NEWIPC,
    "pid": sys.CLONE_NEWPID,
    "network": sys.CLONE_NEWNET,
    "cgroup": sys.CLONE_NEWCGROUP,
    "user": sys.CLONE_NEWUSER,
    "time": sys.CLONE_NEWTIME,
}

# What the parent has to do for the child: these two change only children (namespaces(7)).
_FOR_CHILDREN = ("pid", "time")


class Namespaces:
    """The namespaces a process is to live in: `new` names, and `joined` ones by descriptor, some `opened` here."""

    __slots__ = ("joined", "new", "opened")

    def __init__(self, entries: list[dict[str, Any]], given: dict[str, int]) -> None:
        """Parameters: `entries`: linux.namespaces; `given`: descriptors that stand in for an entry's path."""
        self.new: list[str] = []
        self.joined: dict[str, int] = dict(given)
        self.opened: list[int] = []
        for entry in entries:
            name = entry["type"]
            if name in given:
                continue
            if entry.get("path"):
                self.joined[name] = os.open(entry["path"], os.O_RDONLY | os.O_CLOEXEC)
                self.opened.append(self.joined[name])
            else:
                self.new.append(name)

    def clone_flags(self) -> int:
        """Flags for clone(2). The cgroup namespace is made later, from inside the container's cgroup, and the time
        namespace before (clone(2) has no flag for it)."""
        return sum(FLAGS[name] for name in self.new if name not in ("cgroup", "time"))

    def need_parent(self) -> bool:
        """Whether `prepare_parent` has something to do."""
        return "time" in self.new or any(name in self.joined for name in _FOR_CHILDREN)

    def prepare_parent(self, offsets: dict[str, dict[str, int]] | None) -> None:
        """In the parent: what only takes effect for the next child. Raises OSError."""
        if "time" in self.new:
            sys.unshare(sys.CLONE_NEWTIME)
            for clock, offset in (offsets or {}).items():
                line = f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}"
                with open("/proc/self/timens_offsets", "wb", buffering=0) as file:
                    file.write(line.encode())
        for name in _FOR_CHILDREN:
            if name in self.joined:
                sys.setns(self.joined[name], FLAGS[name])

    def join(self) -> None:
        """In the child: enter the joined ones; the user namespace first, it is what gives the right to the others."""
        for name in sorted(self.joined, key=lambda name: name != "user"):
            if name not in _FOR_CHILDREN:
                sys.setns(self.joined[name], FLAGS[name])


def write_id_maps(pid: int, linux: dict[str, Any]) -> None:
    """Write uid_map and gid_map of a child in a new user namespace. Raises OSError."""
    for name in ("uid", "gid"):
        lines = [
            f"{entry['containerID']} {entry['hostID']} {entry['size']}" for entry in linux.get(f"{name}Mappings") or ()
        ]
        with open(f"/proc/{pid}/{name}_map", "wb", buffering=0) as file:
            file.write("\n".join(lines).encode())


def host_root(mappings: Iterable[dict[str, int]]) -> int:
    """The host's number of a user namespace's 0; -1 where none is mapped."""
    return next((entry["hostID"] for entry in mappings if entry["containerID"] == 0), -1)
