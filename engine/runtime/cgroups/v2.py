"""cgroup v2: the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime import privilege
from dosirak.engine.runtime.cgroups import devicerules, files, freezer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WANTED = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma")
SCOPE = (f"{files.PARENT}-", ".scope")
"""How the name of an engine's scope begins and ends, where systemd gives it one."""
# Set by systemd on the groups that it has handed to somebody (systemd.io/CGROUP_DELEGATION); the first for all to see.
_DELEGATED = ("user.delegate", "trusted.delegate")


class Hierarchy:
    """The unified hierarchy, mounted at `root`."""

    version = "2"
    took_ready = False

    def __init__(self, root: str, available: frozenset[str] = frozenset()) -> None:
        """Parameters: `available`: the controllers at the root that a container's group should have."""
        self.root, self._available = root, available

    def get_ready(self, devices: list[dict[str, Any]], spare: int) -> str:
        """Load the program for rules that will probably be asked for. A group can't be had: here it has no rename."""
        devicerules.get_ready_v2(devices)
        return ""

    def forget_ready(self, spare: int) -> None:
        """The program goes with the process."""

    def sweep_ready(self) -> None:
        """Nothing is left by anybody."""

    def create(self, path: str, resources: dict[str, Any]) -> list[int]:
        """Make the group with its controllers on, set the limits, open the file to join by."""
        directory = f"{self.root}/{path}"
        while True:
            try:
                os.mkdir(directory)
            except FileExistsError:
                pass
            except FileNotFoundError:
                # An engine that ends may take the empty parent away in between.
                self.make_parents(os.path.dirname(path))
                continue
            break
        if not self._available <= set(files.read(directory, "cgroup.controllers").split()):
            self.make_parents(os.path.dirname(path))  # somebody else's, who has not handed them down
        if resources:
            self.apply(path, resources)
        if (rules := resources.get("devices")) and not privilege.here().confined:  # who can make no node needs no rules
            devicerules.attach_v2(directory, rules)
        return self.join_fds(path)

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        """Write the limits."""
        directory = f"{self.root}/{path}"
        try:
            wanted = settings(resources)
        except TypeError as error:
            raise OSError(errno.EINVAL, f"invalid argument: {error}", "linux.resources") from error
        for name, value in wanted:
            if name == "io.bfq.weight" and not os.path.exists(f"{directory}/{name}"):
                name, value = "io.weight", _io_weight(str(value))
            try:
                files.write(directory, name, value)
            except FileNotFoundError as error:
                if not os.path.isdir(directory):
                    raise
                if (name, value) in _TRUE_WITHOUT:
                    continue
                reason = f"the host has no cgroup controller for {name}"
                raise OSError(errno.EOPNOTSUPP, reason, name.partition(".")[0]) from error

    update = apply

    def renew(self, path: str) -> None:
        """Make a group of an earlier run joinable: thawed, without groups that the container made in it, which keep
        processes out ("no internal processes")."""
        self.thaw(path)
        directory = f"{self.root}/{path}"
        if given := files.read(directory, "cgroup.subtree_control").split():
            for name in files.children(directory):
                files.remove(f"{directory}/{name}")
            files.write(directory, "cgroup.subtree_control", " ".join(f"-{controller}" for controller in given))

    def join_fds(self, path: str) -> list[int]:
        """The descriptor of cgroup.procs."""
        return [os.open(f"{self.root}/{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)]

    def join_beside_fds(self, path: str, pidfd: int) -> list[int]:
        """Where the container has made groups of its own (systemd does), that of its first process: its whole one
        then takes no process ("no internal processes")."""
        if files.read(f"{self.root}/{path}", "cgroup.subtree_control").strip():
            pid = files.field("/proc/self/fdinfo", str(pidfd), "Pid:")
            inner = os.fsdecode(files.read_bytes(f"/proc/{pid}", "cgroup")).rstrip("\n").partition("0::/")[2]
            if inner.startswith(f"{path}/"):
                path = inner
        return self.join_fds(path)

    def binds(self, path: str) -> list[tuple[str, str]]:
        """The group's own directory is the whole of /sys/fs/cgroup."""
        return [("", f"{self.root}/{path}")]

    def links(self) -> list[tuple[str, str]]:
        """None on v2."""
        return []

    def oom_kills(self, path: str) -> int:
        """`oom_kill` of memory.events."""
        return files.field(f"{self.root}/{path}", "memory.events", "oom_kill")

    def limit_hits(self, path: str) -> int:
        """`oom` of memory.events."""
        return files.field(f"{self.root}/{path}", "memory.events", "oom")

    def processes(self, path: str) -> list[int]:
        """With those of groups the container made below its own."""
        return files.pids(f"{self.root}/{path}")

    def freeze(self, path: str) -> None:
        """By cgroup.freeze (kernel 5.2)."""
        freezer.freeze_v2(f"{self.root}/{path}")

    def thaw(self, path: str) -> None:
        """By cgroup.freeze."""
        freezer.thaw_v2(f"{self.root}/{path}")

    def frozen(self, path: str) -> bool:
        """By cgroup.freeze."""
        return freezer.frozen_v2(f"{self.root}/{path}")

    def kill(self, path: str) -> None:
        """cgroup.kill (kernel 5.14), one by one before that."""
        try:
            files.write(f"{self.root}/{path}", "cgroup.kill", 1)
        except OSError:
            files.kill_all(f"{self.root}/{path}")

    def exists(self, path: str) -> bool:
        """Whether the group is there."""
        return os.path.isdir(f"{self.root}/{path}")

    def remove(self, path: str) -> None:
        """Remove the group."""
        files.remove(f"{self.root}/{path}")

    def remove_parent(self, path: str) -> None:
        """Remove it if it is empty."""
        files.remove_empty(f"{self.root}/{path}")

    def make_parents(self, path: str) -> None:
        """Make a group that only holds others: each level hands its controllers down to the next. Raises OSError.

        What is above a delegated group is systemd's, and left alone.
        """
        directory = self.root
        levels = [directory]
        for part in path.split("/"):
            directory = f"{directory}/{part}"
            levels.append(directory)
        files.make(directory)
        first = max((place for place, directory in enumerate(levels) if _is_delegated(directory)), default=0)
        for directory in levels[first:]:
            _hand_down(directory)

    def move_into(self, path: str) -> None:
        """Make the group and move this process there, with all its threads. Raises OSError."""
        files.make(f"{self.root}/{path}")
        files.write(f"{self.root}/{path}", "cgroup.procs", os.getpid())

    def holds_groups(self, path: str) -> bool:
        """Whether it is there and others are below it."""
        try:
            return bool(files.children(f"{self.root}/{path}"))
        except OSError:
            return False


def detect() -> Hierarchy | None:
    """The unified hierarchy, if it has the place of all: beside v1 it is mounted elsewhere, and has what v1 leaves.

    It may lack controllers (Raspberry Pi OS has that for memory only when asked).
    """
    root = "/sys/fs/cgroup"
    try:
        available = files.read(root, "cgroup.controllers").split()
    except OSError:
        return None
    return Hierarchy(root, frozenset(_WANTED) & frozenset(available))


def _is_delegated(directory: str) -> bool:
    for name in _DELEGATED:
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue
    return False


def detect_delegated() -> Hierarchy | None:
    """The part of the unified hierarchy that is this user's, with the memory controller: the topmost such group above
    this process that may hand its controllers down, for a process can be moved only below a group that is the user's.
    Where systemd has given the engine a scope, that: what is above is for the user's others.
    """
    try:
        with open("/proc/self/cgroup", "rb", buffering=0) as file:
            lines = file.read().decode().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        path, found = "/sys/fs/cgroup", []
        for part in ["", *own.strip("/").split("/")]:
            path = f"{path}/{part}".rstrip("/")
            if os.access(path, os.W_OK) and os.access(f"{path}/cgroup.procs", os.W_OK) and _can_hand_down(path):
                found.append(path)
    except (OSError, StopIteration):
        return None
    scopes = [path for path in found if path.endswith(SCOPE[1]) and os.path.basename(path).startswith(SCOPE[0])]
    return Hierarchy((scopes or found)[0]) if found else None


def _can_hand_down(directory: str) -> bool:
    """Whether it has the memory controller, and no processes of its own to keep it from handing it down."""
    available = files.read(directory, "cgroup.controllers").split()
    handed = files.read(directory, "cgroup.subtree_control").split()
    return "memory" in available and ("memory" in handed or not files.read(directory, "cgroup.procs").split())


def _hand_down(directory: str) -> None:
    """Turn on for the groups below what is not yet. What is refused (processes in the group itself, a group that was
    handed to us without it) is missed where a limit needs it."""
    available = set(files.read(directory, "cgroup.controllers").split())
    given = set(files.read(directory, "cgroup.subtree_control").split())
    for controller in _WANTED:
        if controller in available - given:
            try:
                files.write(directory, "cgroup.subtree_control", f"+{controller}")
            except OSError:
                continue


def settings(resources: dict[str, Any]) -> list[tuple[str, object]]:
    """`linux.resources`, which speaks v1, as (file, value) of v2."""
    found: list[tuple[str, object]] = []
    memory, cpu, pids, block = (resources.get(name) or {} for name in ("memory", "cpu", "pids", "blockIO"))
    if memory.get("limit"):
        found.append(("memory.max", _max(memory["limit"])))
    if memory.get("swap") or (memory.get("limit") or 0) < 0:
        found.append(("memory.swap.max", _swap(memory.get("swap") or -1, memory.get("limit"))))
    if memory.get("reservation"):
        found.append(("memory.low", max(memory["reservation"], 0)))
    if cpu.get("shares"):
        found.append(("cpu.weight", weight(cpu["shares"])))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        found.append(("cpu.max", f"{'max' if quota < 0 else quota} {cpu.get('period') or 100000}"))
    for key, name in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
        if cpu.get(key) is not None:
            found.append((name, cpu[key]))
    for key, name in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if cpu.get(key):
            found.append((name, cpu[key]))
    if pids.get("limit") is not None:  # 0 is 1, as in runc: systemd knows no 0
        found.append(("pids.max", _max(pids["limit"] or 1)))
    if block.get("weight"):
        found.append(("io.bfq.weight", f"default {block['weight']}"))
    for device in block.get("weightDevice") or ():
        found.append(("io.bfq.weight", f"{device['major']}:{device['minor']} {device['weight']}"))
    for key, name in _THROTTLE:
        for device in block.get(key) or ():
            found.append(("io.max", f"{device['major']}:{device['minor']} {name}={device['rate'] or 'max'}"))
    return found + _rare(resources) if resources.keys() & _RARE else found


_RARE = frozenset(("hugepageLimits", "rdma", "unified"))


def _rare(resources: dict[str, Any]) -> list[tuple[str, object]]:
    """Limits of huge pages and RDMA; last of all what is written as it stands. Raises OSError for what is no file of
    the group's own."""
    found: list[tuple[str, object]] = []
    for entry in resources.get("hugepageLimits") or ():
        found.append((f"hugetlb.{entry['pageSize']}.max", entry["limit"]))
    for device, limits in (resources.get("rdma") or {}).items():
        found.append(("rdma.max", files.rdma(device, limits)))
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name or "." not in name:
            raise OSError(errno.EINVAL, "is not a file of a cgroup", name)
        found.append((name, value))
    return found


# What a kernel that counts no swap does anyhow.
_TRUE_WITHOUT = (("memory.swap.max", "max"), ("memory.swap.max", 0))

_THROTTLE = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def weight(shares: int) -> int:
    """cpu.shares 2…262144 on the scale of cpu.weight 1…10000; the defaults meet, 1024 and 100.

    runc's curve since 1.3.2 (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value).
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2  # only who limits shares pays for it

    power = log2(shares)
    curve: float = 10.0 ** ((power * power + 125 * power) / 612 - 7 / 34)
    return ceil(curve)


def _io_weight(value: str) -> str:
    """A line of blkio's weights 10…1000 on the scale of io.weight, 1…10000 (runc's ConvertBlkIOToIOWeightValue)."""
    device, _, number = value.rpartition(" ")
    return f"{device} {1 + (int(number) - 10) * 9999 // 990 if int(number) else 'default'}"


def _max(value: int) -> object:
    return "max" if value < 0 else value


def _swap(both: int, limit: int | None) -> object:
    """v1 counts memory and swap together, v2 swap alone. Raises OSError for what says nothing about swap."""
    if both < 0:
        return "max"
    if not limit:
        raise OSError(errno.EINVAL, "unable to set swap limit without memory limit", "memory.swap.max")
    return both - limit if limit > 0 else both
