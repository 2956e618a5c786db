"""cgroup v1: a hierarchy a controller (Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

import errno
import os

from dosirak.engine.runtime.cgroups import devicerules, files, freezer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Made for every container, so that limits can be set and statistics read at any time later. cpuset and the rest
# only where a limit asks for them: each group costs at start and at exit.
_ALWAYS = ("memory", "cpu", "cpuacct", "pids", "devices", "freezer", "blkio")


class Hierarchies:
    """The v1 hierarchies of this host: controller → mount point. Co-mounted controllers share a mount point."""

    version = "1"

    def __init__(self, mounts: dict[str, str]) -> None:
        self.mounts = mounts
        self._ready = ""
        self._ready_rules: object = None
        self.took_ready = False

    def get_ready(self, devices: list[dict[str, Any]], spare: int) -> str:
        """Make the groups under a name of their own: to make one costs several times what it costs to rename it."""
        self._ready, self._ready_rules = _spare(spare), devices
        for mount in self._mounts({}):
            files.make(f"{mount}/{self._ready}")
        if "devices" in self.mounts:
            devicerules.apply_v1(f"{self.mounts['devices']}/{self._ready}", devices)
        return self._ready

    def forget_ready(self, spare: int) -> None:
        """From every hierarchy."""
        for mount in self._mounts({}):
            files.remove_empty(f"{mount}/{_spare(spare)}")

    def sweep_ready(self) -> None:
        """The name tells whose it is."""
        try:
            names = os.listdir(f"{self._main()}/{files.PARENT}")
        except OSError:
            return
        for name in names:
            kind, _, pid = name.partition("-")
            if kind == _SPARE and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                self.forget_ready(int(pid))

    def _take_ready(self, path: str, rules: object) -> set[str]:
        """Give the groups that are ready the name that is wanted, and say in which hierarchies that worked."""
        ready, self._ready = self._ready, ""
        taken: set[str] = set()
        mounts = self._mounts({}) if ready else []
        for mount in mounts:
            fits = os.path.dirname(path) == files.PARENT
            if mount == self.mounts.get("devices"):
                fits = fits and rules == self._ready_rules
            try:
                if fits:
                    os.rename(f"{mount}/{ready}", f"{mount}/{path}")
                    taken.add(mount)
                    continue
            except OSError:
                pass  # that name is there already, or somebody has removed what was ready
            files.remove_empty(f"{mount}/{ready}")
        self.took_ready = bool(ready) and len(taken) == len(mounts)
        return taken

    def create(self, path: str, resources: dict[str, Any]) -> list[int]:
        """Make the groups, set the limits, open the files to join by."""
        taken = self._take_ready(path, resources.get("devices"))
        for mount in self._mounts(resources):
            if mount not in taken:
                files.make(f"{mount}/{path}")
        if "cpuset" in self.mounts and _wants_cpuset(resources):
            _inherit_cpuset(self.mounts["cpuset"], path)
        if resources:
            self.apply(path, resources)
        if rules := resources.get("devices"):
            if "devices" not in self.mounts:
                raise OSError(errno.EOPNOTSUPP, "the host has no cgroup controller for devices")
            if self.mounts["devices"] not in taken:
                devicerules.apply_v1(f"{self.mounts['devices']}/{path}", rules)
        return self.join_fds(path)

    def update(self, path: str, resources: dict[str, Any]) -> None:
        """Write the limits into groups that exist; into cpuset it moves only now, if it had no need of it before."""
        cpuset = f"{self.mounts.get('cpuset', '')}/{path}"
        moves = _wants_cpuset(resources) and "cpuset" in self.mounts and not os.path.isdir(cpuset)
        if moves:
            files.make(cpuset)
            _inherit_cpuset(self.mounts["cpuset"], path)
        try:
            self.apply(path, resources)
            if moves:
                self._move(path, cpuset)
        finally:
            if moves and not os.path.isdir(f"{self._main()}/{path}"):
                files.remove(cpuset)  # whoever owns the groups has removed them meanwhile

    def _move(self, path: str, target: str) -> None:
        """All processes into one more group, until none is left that was forked meanwhile."""
        moved: set[int] = set()
        while left := [pid for pid in self.processes(path) if pid not in moved]:
            moved.update(left)
            for pid in left:
                try:
                    files.write(target, "cgroup.procs", pid)
                except ProcessLookupError:
                    continue

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        """Write the limits."""
        if resources.get("unified"):
            raise OSError(errno.EOPNOTSUPP, "invalid configuration: linux.resources.unified needs cgroup v2", "unified")
        wanted = self._named(path, settings(resources))
        for controller, name, value in wanted:
            mount = self.mounts.get(controller)
            if mount is None:
                raise OSError(95, f"the host has no cgroup controller for {name}", controller)
            try:
                files.write(f"{mount}/{path}", name, value)
            except OSError as error:
                if name == _BURST and error.errno == errno.ENOENT:
                    continue  # kernels before 5.14 have none
                first = _PAIRS.get(name, "")
                before = [entry[2] for entry in wanted if entry[1] == first]
                if error.errno != errno.EINVAL or not before:
                    raise
                # Raised above what the other of the pair allows until now: that first (memory.rst, 8.6).
                files.write(f"{mount}/{path}", first, before[0])
                files.write(f"{mount}/{path}", name, value)

    def _named(self, path: str, wanted: list[tuple[str, str, object]]) -> list[tuple[str, str, object]]:
        """Block I/O weights are CFQ's up to Linux 4.20, BFQ's since."""
        if not any(name.startswith("blkio.weight") for _, name, _ in wanted):
            return wanted
        if os.path.exists(f"{self.mounts.get('blkio', '')}/{path}/blkio.weight"):
            return wanted
        return [
            (controller, name.replace("blkio.weight", "blkio.bfq.weight"), value) for controller, name, value in wanted
        ]

    def join_fds(self, path: str) -> list[int]:
        """Descriptors of `tasks`.

        A single-threaded process that writes "0" there moves itself without the kernel's global
        cgroup_threadgroup_rwsem, which `cgroup.procs` takes (kernel/cgroup/cgroup.c, cgroup_procs_write_start).
        """
        fds = []
        for mount in dict.fromkeys(self.mounts.values()):
            try:
                fds.append(os.open(f"{mount}/{path}/tasks", os.O_WRONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
        if not fds:
            raise FileNotFoundError(2, "no such cgroup", path)
        return fds

    def join_beside_fds(self, path: str, pidfd: int) -> list[int]:
        """The same: groups inside keep nobody out."""
        return self.join_fds(path)

    def binds(self, path: str) -> list[tuple[str, str]]:
        """One directory a hierarchy."""
        mounts = dict.fromkeys(self.mounts.values())
        return [(os.path.basename(mount), f"{mount}/{path}") for mount in mounts if os.path.isdir(f"{mount}/{path}")]

    def links(self) -> list[tuple[str, str]]:
        """Controllers that share a hierarchy: "cpu" → "cpu,cpuacct"."""
        return [
            (controller, os.path.basename(mount))
            for controller, mount in self.mounts.items()
            if os.path.basename(mount) != controller and "," in os.path.basename(mount)
        ]

    def oom_kills(self, path: str) -> int:
        """`oom_kill` of memory.oom_control (kernel 4.13)."""
        return files.field(f"{self.mounts.get('memory', '')}/{path}", "memory.oom_control", "oom_kill")

    def limit_hits(self, path: str) -> int:
        """memory.failcnt."""
        try:
            return int(files.read(f"{self.mounts.get('memory', '')}/{path}", "memory.failcnt"))
        except OSError:
            return 0

    def processes(self, path: str) -> list[int]:
        """Any of the hierarchies knows them all; memory is always made."""
        return files.pids(f"{self._main()}/{path}")

    def freeze(self, path: str) -> None:
        """By freezer.state."""
        if "freezer" not in self.mounts:
            raise OSError(errno.EOPNOTSUPP, "the host has no cgroup controller for freezing", "freezer")
        freezer.freeze_v1(self._freezer(path))

    def thaw(self, path: str) -> None:
        """By freezer.state."""
        freezer.thaw_v1(self._freezer(path))

    def renew(self, path: str) -> None:
        """Thawed is all it has to be."""
        self.thaw(path)

    def frozen(self, path: str) -> bool:
        """By freezer.self_freezing."""
        return freezer.frozen_v1(self._freezer(path))

    def _freezer(self, path: str) -> str:
        return f"{self.mounts.get('freezer', '')}/{path}"

    def kill(self, path: str) -> None:
        """v1 has no cgroup.kill."""
        self.thaw(path)
        files.kill_all(f"{self._main()}/{path}")

    def exists(self, path: str) -> bool:
        """In any: one whose remover was killed may be gone from some."""
        return any(os.path.isdir(f"{mount}/{path}") for mount in self.mounts.values())

    def remove(self, path: str) -> None:
        """From every hierarchy that has it."""
        try:
            os.rmdir(self._freezer(path))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            self.kill(path)  # frozen processes would not die
        for mount in dict.fromkeys(self.mounts.values()):
            files.remove(f"{mount}/{path}")

    def _main(self) -> str:
        return self.mounts.get("pids") or self.mounts.get("memory") or next(iter(self.mounts.values()))

    def remove_parent(self, path: str) -> None:
        """Remove it from every hierarchy where it is empty."""
        for mount in dict.fromkeys(self.mounts.values()):
            files.remove_empty(f"{mount}/{path}")

    def _mounts(self, resources: dict[str, Any]) -> list[str]:
        wanted = dict.fromkeys((*_ALWAYS, *(controller for controller, _, _ in settings(resources))))
        return list(dict.fromkeys(self.mounts[name] for name in wanted if name in self.mounts))


# Groups that wait for a container are "dosirak/spare-PID".
_SPARE = "spare"


def _spare(pid: int) -> str:
    return f"{files.PARENT}/{_SPARE}-{pid}"


def detect() -> Hierarchies:
    """The hierarchies this process sees mounted (/proc/self/mountinfo)."""
    mounts: dict[str, str] = {}
    with open("/proc/self/mountinfo", "rb", buffering=0) as table:
        lines = table.read().decode().splitlines()
    for line in lines:
        before, _, after = line.partition(" - ")
        fstype, _, options = after.split(" ", 2)
        if fstype == "cgroup":
            point = before.split()[4]
            for option in options.split(","):
                if option in _CONTROLLERS:
                    mounts[option] = point
    return Hierarchies(mounts)


_CONTROLLERS = frozenset(
    (
        *("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio"),
        *("hugetlb", "rdma"),
    )
)


def settings(resources: dict[str, Any]) -> list[tuple[str, str, object]]:
    """`linux.resources` as (controller, file, value), in the order they have to be written."""
    found: list[tuple[str, str, object]] = []
    memory, cpu, pids, block = (resources.get(name) or {} for name in ("memory", "cpu", "pids", "blockIO"))
    for key, controller, name in _PLAIN:
        source = memory if controller == "memory" else cpu
        value = source.get(key)
        if value or (value == 0 and key in _ZERO_IS_A_VALUE):
            found.append((controller, name, value))
    if memory.get("disableOOMKiller") is not None:
        found.append(("memory", "memory.oom_control", int(memory["disableOOMKiller"])))
    if pids.get("limit") is not None:  # 0 is 1, as in runc: systemd knows no 0
        found.append(("pids", "pids.max", "max" if pids["limit"] < 0 else pids["limit"] or 1))
    if block.get("weight"):
        found.append(("blkio", "blkio.weight", block["weight"]))
    for device in block.get("weightDevice") or ():
        numbers = f"{device['major']}:{device['minor']}"
        found.append(("blkio", "blkio.weight_device", f"{numbers} {device['weight']}"))
    for key, name in _THROTTLE:
        for device in block.get(key) or ():
            found.append(("blkio", name, f"{device['major']}:{device['minor']} {device['rate']}"))
    return found + _rare(resources) if resources.keys() & _RARE else found


_RARE = frozenset(("hugepageLimits", "network", "rdma"))


def _rare(resources: dict[str, Any]) -> list[tuple[str, str, object]]:
    """Limits of huge pages and RDMA, and what the network controllers mark packets with."""
    found: list[tuple[str, str, object]] = []
    for entry in resources.get("hugepageLimits") or ():
        found.append(("hugetlb", f"hugetlb.{entry['pageSize']}.limit_in_bytes", entry["limit"]))
    network = resources.get("network") or {}
    if network.get("classID"):
        found.append(("net_cls", "net_cls.classid", network["classID"]))
    for entry in network.get("priorities") or ():
        found.append(("net_prio", "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}"))
    for device, limits in (resources.get("rdma") or {}).items():
        found.append(("rdma", "rdma.max", files.rdma(device, limits)))
    return found


# For all others 0 means "not set", as in runc.
_ZERO_IS_A_VALUE = frozenset(("swappiness", "burst", "idle"))
_MEMORY, _MEMORY_AND_SWAP = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
_BURST = "cpu.cfs_burst_us"
# A file that is refused may have to wait for another.
_PAIRS = {
    _MEMORY: _MEMORY_AND_SWAP,
    "cpu.cfs_period_us": "cpu.cfs_quota_us",
    _BURST: "cpu.cfs_quota_us",
    "cpu.rt_period_us": "cpu.rt_runtime_us",
}

# The memory limit before memory+swap, or the kernel refuses the pair (memory.rst, 8.6).
_PLAIN = (
    ("limit", "memory", _MEMORY),
    ("swap", "memory", _MEMORY_AND_SWAP),
    ("reservation", "memory", "memory.soft_limit_in_bytes"),
    ("swappiness", "memory", "memory.swappiness"),
    ("shares", "cpu", "cpu.shares"),
    ("period", "cpu", "cpu.cfs_period_us"),
    ("burst", "cpu", _BURST),
    ("quota", "cpu", "cpu.cfs_quota_us"),
    ("realtimePeriod", "cpu", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
    ("idle", "cpu", "cpu.idle"),
    ("cpus", "cpuset", "cpuset.cpus"),
    ("mems", "cpuset", "cpuset.mems"),
)

_THROTTLE = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def _wants_cpuset(resources: dict[str, Any]) -> bool:
    return bool((resources.get("cpu") or {}).keys() & {"cpus", "mems"})


def _inherit_cpuset(mount: str, path: str) -> None:
    """A new v1 cpuset has neither cpus nor mems and takes no process: copy the parent's, from the top down."""
    parent = mount
    for part in path.split("/"):
        child = f"{parent}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not files.read(child, name).strip():
                files.write(child, name, files.read(parent, name).strip())
        parent = child
