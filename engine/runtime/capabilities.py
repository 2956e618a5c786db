"""Capability names and the five sets of a process (capabilities(7))."""

from __future__ import annotations

from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# include/uapi/linux/capability.h, in order of their numbers.
_NUMBERED = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NAMES = tuple(f"CAP_{name}" for name in _NUMBERED.split())
_BITS = {name: 1 << number for number, name in enumerate(NAMES)}


def mask(names: Iterable[str]) -> int:
    """The bit mask of capability names ("CAP_CHOWN"). Names this kernel has never heard of raise KeyError."""
    bits = 0
    for name in names:
        bits |= _BITS[name]
    return bits


def drop_bounding(keep: int) -> None:
    """Drop from the bounding set all that is not in `keep`; needs CAP_SETPCAP, so it comes first."""
    number = 0
    while True:
        try:
            held = sys.prctl(sys.PR_CAPBSET_READ, number)
        except OSError:
            return  # EINVAL: past the last capability of this kernel
        if held and not keep >> number & 1:
            sys.prctl(sys.PR_CAPBSET_DROP, number)
        number += 1


def set_sets(sets: Mapping[str, Iterable[str]]) -> None:
    """Set effective, permitted, inheritable and ambient as `config.json`'s process.capabilities has them.

    What the engine itself does not hold can't be given: it is left out (the engine refuses explicit requests of it
    earlier). Raises OSError.
    """
    held = sys.capget()[1]
    permitted = mask(sets.get("permitted", ())) & held
    inheritable = mask(sets.get("inheritable", ())) & held
    sys.capset(mask(sets.get("effective", ())) & permitted, permitted, inheritable)
    sys.prctl(sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_CLEAR_ALL)
    ambient = mask(sets.get("ambient", ())) & permitted & inheritable
    for number in range(len(NAMES)):
        if ambient >> number & 1:
            sys.prctl(sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_RAISE, number)
