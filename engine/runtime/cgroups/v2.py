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


class Hierarchy:
    """The unified hierarchy, mounted at `root`."""

    version = "2"
    took_ready = False

    def __init__(self, root: str) -> None:
        self.root = root

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
        if os.path.dirname(path) != files.PARENT:
            self.make_parents(os.path.dirname(path))  # somebody else's, who may have handed nothing down
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
        if resources:
            self.apply(path, resources)
        if (rules := resources.get("devices")) and not privilege.here().confined:  # who can make no node needs no rules
            devicerules.attach_v2(directory, rules)
        return self.join_fds(path)

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        """Write the limits."""
        directory = f"{self.root}/{path}"
        for name, value in settings(resources):
            if name == "io.bfq.weight" and not os.path.exists(f"{directory}/{name}"):
                name, value = "io.weight", _io_weight(str(value))
            files.write(directory, name, value)

    update = apply

    def join_fds(self, path: str) -> list[int]:
        """The descriptor of cgroup.procs."""
        return [os.open(f"{self.root}/{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)]

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

    def remove(self, path: str) -> None:
        """Remove the group."""
        files.remove(f"{self.root}/{path}")

    def remove_parent(self, path: str) -> None:
        """Remove it if it is empty."""
        files.remove_empty(f"{self.root}/{path}")

    def make_parents(self, path: str) -> None:
        """Make a group that only holds others: each level hands its controllers down to the next. Raises OSError."""
        directory = self.root
        for part in path.split("/"):
            _hand_down(directory)
            directory = f"{directory}/{part}"
            files.make(directory)
        _hand_down(directory)


def detect() -> Hierarchy | None:
    """The unified hierarchy, if it is the one that carries the memory controller."""
    root = "/sys/fs/cgroup"
    try:
        available = files.read(root, "cgroup.controllers").split()
    except OSError:
        return None
    return Hierarchy(root) if "memory" in available else None


def detect_delegated() -> Hierarchy | None:
    """The part of the unified hierarchy that is this user's, with the memory controller: the topmost such group above
    this process that may hand its controllers down, for a process can be moved only below a group that is the user's.
    """
    try:
        with open("/proc/self/cgroup", "rb", buffering=0) as file:
            lines = file.read().decode().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        path = "/sys/fs/cgroup"
        for part in ["", *own.strip("/").split("/")]:
            path = f"{path}/{part}".rstrip("/")
            if os.access(path, os.W_OK) and os.access(f"{path}/cgroup.procs", os.W_OK) and _can_hand_down(path):
                return Hierarchy(path)
    except (OSError, StopIteration):
        pass
    return None


def _can_hand_down(directory: str) -> bool:
    """Whether it has the memory controller, and no processes of its own to keep it from handing it down."""
    available = files.read(directory, "cgroup.controllers").split()
    handed = files.read(directory, "cgroup.subtree_control").split()
    return "memory" in available and ("memory" in handed or not files.read(directory, "cgroup.procs").split())


def _hand_down(directory: str) -> None:
    available = set(files.read(directory, "cgroup.controllers").split())
    for controller in _WANTED:
        if controller in available:
            files.write(directory, "cgroup.subtree_control", f"+{controller}")


def settings(resources: dict[str, Any]) -> list[tuple[str, object]]:
    """`linux.resources`, which speaks v1, as (file, value) of v2."""
    found: list[tuple[str, object]] = []
    memory, cpu, pids, block = (resources.get(name) or {} for name in ("memory", "cpu", "pids", "blockIO"))
    if memory.get("limit"):
        found.append(("memory.max", _max(memory["limit"])))
    if memory.get("swap") or (memory.get("limit") or 0) < 0:
        found.append(("memory.swap.max", _swap(memory.get("swap") or -1, memory.get("limit"))))
    if memory.get("reservation"):
        found.append(("memory.low", _max(memory["reservation"])))
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
    if pids.get("limit"):
        found.append(("pids.max", _max(pids["limit"])))
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
