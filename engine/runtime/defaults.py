"""Docker's defaults for a container's `config.json`: capabilities, mounts, devices, masked and read-only paths.

Sources: moby `daemon/pkg/oci/defaults.go` and `daemon/pkg/oci/caps/defaults.go` (August 2026).
"""

from __future__ import annotations

import os

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)


def _thermal_throttle() -> list[str]:
    cpus = "/sys/devices/system/cpu"
    try:
        names = sorted(name for name in os.listdir(cpus) if name[:3] == "cpu" and name[3:].isdigit())
    except OSError:
        return []
    return [path for name in names if os.path.exists(path := f"{cpus}/{name}/thermal_throttle")]


# Per-CPU thermal counters leak what the neighbours do (GHSA-6fw5-f8r9-fgfm); which CPUs have them is fixed at boot.
# In Docker's order: it is what inspect shows.
MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    *_thermal_throttle(),
)

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# What every container may do with devices: make any node, use the harmless ones and terminals; nothing else.
DEVICE_RULES: list[dict[str, object]] = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        # Not 5:1 as in Docker: it is the machine's console, where somebody may be typing a password. A container with a
        # terminal finds its own at /dev/console.
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},  # fuse
]

# Time namespaces: since kernel 5.6, if it was built with them.
_TIME = ("time",) if os.path.exists("/proc/self/ns/time") else ()
NAMESPACES = ("mount", "uts", "ipc", "pid", "network", "cgroup", *_TIME)


def mounts(*, shm_size: int = 64 << 20, privileged: bool = False) -> list[dict[str, object]]:
    """The mounts every container starts with, as entries of `config.json`, in the order they are made.

    Parameters: `shm_size` in bytes; `privileged`: /sys and the cgroup tree writable.
    """
    access = "rw" if privileged else "ro"
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", access]},
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": [access, "nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm_size}"],
        },
    ]
