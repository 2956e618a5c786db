"""Namespaces of config.json: which are made by clone, which are joined, and the settings some need.

namespaces(7), user_namespaces(7), time_namespaces(7).
"""

from __future__ import annotations

import os

from dosirak.engine.runtime import privilege
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
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

# What the process that clones has to enter: the first changes only its children, the others it must be alone in its
# memory for (setns(2)).
_BY_PARENT = ("pid", "time", "user")


class Namespaces:
    """The namespaces a process is to live in: `new` names, some of which are `ready`, and `joined` ones by descriptor,
    some `opened` here."""

    __slots__ = ("joined", "new", "opened", "ready")

    def __init__(self, entries: list[dict[str, Any]], given: dict[str, int]) -> None:
        """Parameters: `entries`: linux.namespaces; `given`: descriptors that stand in for an entry's path."""
        self.new: list[str] = []
        self.joined: dict[str, int] = dict(given)
        self.opened: list[int] = []
        self.ready: list[str] = []
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
        """Flags for clone(2). The cgroup namespace is made later, from inside the container's cgroup, and user and time
        namespaces before: the process that clones enters those itself."""
        before = ("cgroup", "time", "user", *self.ready)
        return sum(FLAGS[name] for name in self.new if name not in before)

    def make_user(self, linux: dict[str, Any]) -> int:
        """The user namespace, made now if it is a new one: a descriptor, -1 for the engine's own. Raises OSError.

        Parameters: `linux` of config.json, for its id mappings.
        """
        if "user" in self.new:
            self.new.remove("user")
            self.joined["user"] = make_user(linux)
            self.opened.append(self.joined["user"])
        return self.joined.get("user", -1)

    def prepare_parent(self, linux: dict[str, Any]) -> None:
        """In the process that clones, after `make_user`: what only it can do for its child. Raises OSError.

        Parameters: `linux` of config.json, for its time offsets. The user namespace comes last of what
        needs the host's rights; namespaces that clone makes then belong to it.
        """
        offsets = linux.get("timeOffsets") or {}
        if "time" in self.new and (offsets or _Ready.before_time < 0):
            _enter_new_time(offsets)
        elif "time" not in self.new and _Ready.before_time >= 0:
            sys.setns(_Ready.before_time, sys.CLONE_NEWTIME)
        self._choose_ready()
        for name in ("time", "pid"):
            if name in self.joined:
                sys.setns(self.joined[name], FLAGS[name])
        if "user" in self.joined:
            enter_user(self.joined["user"])

    def _choose_ready(self) -> None:
        """Take the namespaces that are ready and asked for, and leave the others. With a user namespace of its own, a
        container's belong to that."""
        for name, before in _Ready.before:
            if name in self.new and "user" not in self.joined:
                self.ready.append(name)
            else:
                sys.setns(before, FLAGS[name])

    def join(self) -> None:
        """In the child: enter the joined ones."""
        for name, fd in self.joined.items():
            if name not in _BY_PARENT:
                sys.setns(fd, FLAGS[name])


class _Ready:
    """The namespaces that this process was in before `get_ready` made others; -1: it is in it."""

    before_time = -1
    before: tuple[tuple[str, int], ...] = ()


def get_ready(*, time: bool) -> None:
    """Make namespaces for the next container already, in this process: the child that will run in them is then born in
    them. Not a mount namespace: its copy of the host's mounts would keep what is unmounted there meanwhile. Raises
    OSError.

    Parameters: `time`: a time namespace too.
    """
    if time:
        _Ready.before_time = _open("time")
        _enter_new_time({})
    if not privilege.here().confined:  # who is root of a user namespace only can't go back to the host's
        before = tuple((name, _open(name)) for name in ("uts", "ipc"))
        sys.unshare(sys.CLONE_NEWUTS | sys.CLONE_NEWIPC)
        _Ready.before = before


def _open(name: str) -> int:
    return os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)


def follow(target: int, entries: list[dict[str, Any]]) -> None:
    """In the process that clones: enter what a child of its can't of the namespaces of the process `target` (a pidfd).

    Parameters: `entries`: linux.namespaces of that process. Raises OSError.
    """
    sys.setns(target, sys.CLONE_NEWPID)  # only for children: this process stays where it is (setns(2))
    kinds = {entry["type"] for entry in entries}
    if "time" in kinds:
        sys.setns(target, sys.CLONE_NEWTIME)
    if "user" in kinds:
        enter_user(target)


def _enter_new_time(offsets: dict[str, dict[str, int]]) -> None:
    """time_namespaces(7): made for children first, with offsets, then entered, since a process that shares memory with
    its parent may not be born into another one."""
    sys.unshare(sys.CLONE_NEWTIME)
    for clock, offset in offsets.items():
        line = f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}"
        with open("/proc/self/timens_offsets", "wb", buffering=0) as file:
            file.write(line.encode())
    made = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    sys.setns(made, sys.CLONE_NEWTIME)
    os.close(made)


def enter_user(namespace: int) -> None:
    """Be root of a user namespace (its descriptor, or a pidfd). Raises OSError."""
    sys.setns(namespace, sys.CLONE_NEWUSER)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # The kernel has made us dumpable again where fs.suid_dumpable is 1 (proc(5)).
    sys.prctl(sys.PR_SET_DUMPABLE, 0)


def make_user(linux: dict[str, Any]) -> int:
    """A descriptor of a new user namespace. A process outside has to write its maps, so another one lives in it for a
    moment. Raises OSError.

    Parameters: `linux`: uidMappings and gidMappings, as config.json has them.
    """
    pid = sys.clone(sys.CLONE_NEWUSER | signal.SIGCHLD)
    if pid == 0:
        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)
        while True:
            signal.pause()
    try:
        write_id_maps(pid, linux)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def write_id_maps(pid: int, linux: dict[str, Any]) -> None:
    """Write uid_map and gid_map of a child in a new user namespace. Raises OSError."""
    for name in ("uid", "gid"):
        lines = [
            f"{entry['containerID']} {entry['hostID']} {entry['size']}" for entry in linux.get(f"{name}Mappings") or ()
        ]
        with open(f"/proc/{pid}/{name}_map", "wb", buffering=0) as file:
            file.write("\n".join(lines).encode())
