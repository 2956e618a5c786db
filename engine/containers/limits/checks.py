"""Limits that are refused, and those that this host can't honour: Docker's rules, in Docker's words.

Source: moby, daemon/daemon_unix.go, verifyPlatformContainerResources.
"""

from __future__ import annotations

from dosirak.engine.containers.documents import Resources
from dosirak.engine.containers.limits.facts import HostFacts
from dosirak.engine.errors import InvalidRequest

_SMALLEST_MEMORY = 6 << 20


def check(limits: Resources, facts: HostFacts, *, update: bool = False) -> list[str]:
    """Docker's checks. What the host lacks is taken out of `limits`, with a warning each.

    Parameters: `update`: only what is to change is there. Returns the warnings. Raises InvalidRequest.
    """
    warnings = _warn_deprecated(limits)
    _check_memory(limits, facts, warnings, update=update)
    _check_cpu(limits, facts, warnings)
    _check_block_io(limits, facts, warnings)
    if limits.pids_limit is not None and not facts.pids:
        if limits.pids_limit > 0:
            warnings.append(
                "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit"
                " discarded."
            )
        limits.pids_limit = None
    return warnings


def _warn_deprecated(limits: Resources) -> list[str]:
    warnings = []
    if limits.kernel_memory or limits.kernel_memory_tcp:
        warnings.append("Kernel memory limits are deprecated and not supported. Limitation discarded.")
        limits.kernel_memory = limits.kernel_memory_tcp = 0
    if limits.cpu_count:
        warnings.append("linux does not support CPU count. Count discarded.")
        limits.cpu_count = 0
    return warnings


def _check_memory(limits: Resources, facts: HostFacts, warnings: list[str], *, update: bool) -> None:
    unmounted = "or the cgroup is not mounted."
    if limits.memory and limits.memory < _SMALLEST_MEMORY:
        raise InvalidRequest("Minimum memory limit allowed is 6MB")
    if limits.memory > 0 and not facts.memory:
        warnings.append(f"Your kernel does not support memory limit capabilities {unmounted} Limitation discarded.")
        limits.memory, limits.memory_swap = 0, -1
    if limits.memory > 0 and limits.memory_swap != -1 and not facts.swap:
        warnings.append(
            f"Your kernel does not support swap limit capabilities {unmounted} Memory limited without swap."
        )
        limits.memory_swap = -1
    if limits.memory > 0 and 0 < limits.memory_swap < limits.memory:
        raise InvalidRequest("Minimum memoryswap limit should be larger than memory limit, see usage")
    if limits.memory == 0 and limits.memory_swap > 0 and not update:
        raise InvalidRequest("You should always set the Memory limit when using Memoryswap limit, see usage")
    if limits.memory_swappiness == -1:
        limits.memory_swappiness = None
    if limits.memory_swappiness is not None:
        if not facts.swappiness:
            warnings.append(
                f"Your kernel does not support memory swappiness capabilities {unmounted} Memory swappiness discarded."
            )
            limits.memory_swappiness = None
        elif not 0 <= limits.memory_swappiness <= 100:
            raise InvalidRequest(f"Invalid value: {limits.memory_swappiness}, valid memory swappiness range is 0-100")
    if limits.memory_reservation > 0 and not facts.reservation:
        warnings.append(
            f"Your kernel does not support memory soft limit capabilities {unmounted} Limitation discarded."
        )
        limits.memory_reservation = 0
    if 0 < limits.memory_reservation < _SMALLEST_MEMORY:
        raise InvalidRequest("Minimum memory reservation allowed is 6MB")
    if 0 < limits.memory < limits.memory_reservation:
        raise InvalidRequest("Minimum memory limit can not be less than memory reservation limit, see usage")
    if limits.oom_kill_disable and not facts.oom_kill_disable:
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        limits.oom_kill_disable = None
    if limits.oom_kill_disable and limits.memory == 0 and not update:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system"
            " running out of resources."
        )


def _check_cpu(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if limits.nano_cpus > 0 and limits.cpu_period > 0:
        raise InvalidRequest("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if limits.nano_cpus > 0 and limits.cpu_quota > 0:
        raise InvalidRequest("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if limits.nano_cpus > 0 and facts.driver == "none":
        # Docker's error below is for a kernel that can't; here this user can't, and wants the container all the same.
        warnings.append("Your user has been given no cgroup with a CPU quota. CPUs discarded.")
        limits.nano_cpus = 0
    if limits.nano_cpus > 0 and not facts.cpu_quota:
        raise InvalidRequest(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    if limits.nano_cpus < 0 or limits.nano_cpus > facts.cpu_count * 10**9:
        raise InvalidRequest(
            f"range of CPUs is from 0.01 to {facts.cpu_count}.00, as there are only {facts.cpu_count} CPUs available"
        )
    if limits.cpu_shares < 0:
        raise InvalidRequest(f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer")
    if limits.cpu_shares and not facts.cpu_shares:
        warnings.append("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.")
        limits.cpu_shares = 0
    if (limits.cpu_period or limits.cpu_quota) and not facts.cpu_quota:
        warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        limits.cpu_period = limits.cpu_quota = 0
    if limits.cpu_period and not 1000 <= limits.cpu_period <= 1000000:
        raise InvalidRequest("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < limits.cpu_quota < 1000:
        raise InvalidRequest("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpu_realtime_period or limits.cpu_realtime_runtime:
        warnings.append("Your kernel does not support CPU real-time scheduler. CPU real-time period/runtime discarded.")
        limits.cpu_realtime_period = limits.cpu_realtime_runtime = 0
    if limits.cpu_percent > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        limits.cpu_percent = 0
    if (limits.cpuset_cpus or limits.cpuset_mems) and not facts.cpuset:
        warnings.append("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
        limits.cpuset_cpus = limits.cpuset_mems = ""
    _check_set("CPUs", "cpus", limits.cpuset_cpus, facts.cpus)
    _check_set("memory nodes", "mems", limits.cpuset_mems, facts.mems)


def _check_set(words: str, short: str, asked: str, available: str) -> None:
    try:
        numbers = parse_set(asked)
    except ValueError as error:
        raise InvalidRequest(f"Invalid value {asked} for cpuset {short}") from error
    if not numbers <= parse_set(available):
        raise InvalidRequest(f"Requested {words} are not available - requested {asked}, available: {available}")


def parse_set(text: str) -> set[int]:
    """The numbers of a list as the kernel writes it: "0-2,4". Raises ValueError."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) > 8191:
            raise ValueError(text)
        found.update(range(int(first), int(last or first) + 1))
    return found


def _check_block_io(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    unmounted = "or the cgroup is not mounted."
    if limits.blkio_weight and not facts.blkio_weight:
        warnings.append(f"Your kernel does not support Block I/O weight {unmounted} Weight discarded.")
        limits.blkio_weight = 0
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidRequest("Range of blkio weight is from 10 to 1000")
    if limits.io_maximum_bandwidth or limits.io_maximum_iops:
        raise InvalidRequest("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
    if limits.blkio_weight_device and not facts.blkio_weight_device:
        warnings.append(f"Your kernel does not support Block I/O weight_device {unmounted} Weight-device discarded.")
        limits.blkio_weight_device = []
    if facts.blkio_throttle:
        return
    for name, unit, what in (
        ("blkio_device_read_bps", "BPS", "Block I/O read"),
        ("blkio_device_write_bps", "BPS", "Block I/O write"),
        ("blkio_device_read_iops", "IOPS", "Block read"),
        ("blkio_device_write_iops", "IOPS", "Block write"),
    ):
        if getattr(limits, name):
            direction = what.rpartition(" ")[2]
            warnings.append(
                f"Your kernel does not support {unit} {what} limit {unmounted} Block I/O {unit} {direction} limit"
                " discarded."
            )
            setattr(limits, name, [])
