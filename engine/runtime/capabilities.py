"""Capability names and the five sets of a process (capabilities(7))."""

from __future__ import annotations

import errno

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
KNOWN = frozenset(NAMES)
SYS_ADMIN = _BITS["CAP_SYS_ADMIN"]
SYS_RESOURCE = _BITS["CAP_SYS_RESOURCE"]


def mask(names: Iterable[str]) -> int:
    """The bit mask of capability names ("CAP_CHOWN"). Names this kernel has never heard of raise KeyError."""
    bits = 0
    for name in names:
        bits |= _BITS[name]
    return bits


def drop_bounding(keep: int) -> None:
    """Drop from the bounding set all that is not in `keep`; needs CAP_SETPCAP, so it comes first."""
    for number in range(64):
        if not keep >> number & 1:
            try:
                sys.prctl(sys.PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return  # past the last capability of this kernel


def set_sets(sets: Mapping[str, Iterable[str]], *, reserve: int = 0) -> None:
    """Set effective, permitted, inheritable and ambient as `config.json`'s process.capabilities has them.

    Parameters: `reserve`: stays permitted, so that `raise_effective` can use it; what execve leaves is computed from
    the bounding set alone (capabilities(7), "Transformation of capabilities during execve()").
    What the engine itself does not hold can't be given: it is left out (the engine refuses explicit requests of it
    earlier). Raises OSError.
    """
    held = sys.capget()[1]
    permitted = mask(sets.get("permitted", ())) & held
    inheritable = mask(sets.get("inheritable", ())) & held
    sys.capset(mask(sets.get("effective", ())) & permitted, permitted | reserve & held, inheritable)
    sys.prctl(sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_CLEAR_ALL)
    ambient = mask(sets.get("ambient", ())) & permitted & inheritable
    for number in range(len(NAMES)):
        if ambient >> number & 1:
            sys.prctl(sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_RAISE, number)


def raise_effective(bits: int) -> None:
    """Make permitted capabilities effective. Raises OSError where they are not permitted."""
    effective, permitted, inheritable = sys.capget()
    sys.capset(effective | bits, permitted, inheritable)
