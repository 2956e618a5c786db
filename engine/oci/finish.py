"""Identity, limits, privileges, the wait for `start` and execve, written down for `runtime.steps`.

The order is runc's and the kernel's own demand (capabilities(7), "Effect of user ID changes"): what needs the host's
rights first, then the bounding set, groups before gid before uid, the other sets, the filter last with nothing but
execve after it.
"""

from __future__ import annotations

import os
from _struct import pack

from dosirak.engine.oci.bundle import numbers
from dosirak.engine.runtime import apparmor, capabilities, process, steps
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# asm-generic/resource.h, by their numbers
_LIMITS = """
CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME
"""
LIMITS = {f"RLIMIT_{name}": number for number, name in enumerate(_LIMITS.split())}

# include/uapi/linux/sched.h
POLICIES = {
    **{"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5},
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    **{"SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04},
    **{"SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10},
    **{"SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40},
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
# include/uapi/linux/mempolicy.h
_MODES = "DEFAULT PREFERRED BIND INTERLEAVE LOCAL PREFERRED_MANY WEIGHTED_INTERLEAVE"
MEMORY_MODES = {f"MPOL_{name}": number for number, name in enumerate(_MODES.split())}
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}

_CAPABILITY_VERSION = 0x20080522
_AT_EACCESS, _X_OK = 0x200, 1
_O_WRONLY, _AT_FDCWD = 1, -100
_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_F_SETFD, _FD_CLOEXEC = 2, 1


class Waiting:
    """What stands between a process that is ready and its program."""

    __slots__ = ("fifo", "socket", "told")

    def __init__(self, socket: int, fifo: int, *, told: bool) -> None:
        """Parameters: `socket`: to the command that makes it, -1 where it will have ended; `fifo`: what `start` writes
        to, or -1; `told`: it has been told to go on then, and waits no more."""
        self.socket, self.fifo, self.told = socket, fifo, told


class Listener:
    """Who decides about calls that the filter asks about: a connection, what is told there, and the number that the
    descriptor of the filter's questions will have."""

    __slots__ = ("connection", "number", "told")

    def __init__(self, connection: int, told: bytes, number: int) -> None:
        self.connection, self.told, self.number = connection, told, number


def write(
    settings: dict[str, Any],
    linux: dict[str, Any],
    identity: process.Identity,
    env: list[str],
    *,
    waiting: Waiting,
    filtered: bytes,
    entered: bool,
    affinity: set[int] | None,
    listener: Listener | None = None,
) -> steps.Steps:
    """The list. Parameters: `settings`: an OCI process object; `linux`: of config.json; `filtered`: linux.seccomp,
    compiled; `entered`: the working directory is the current one already; `affinity`: CPUs it may run on. Raises
    process.CannotExec."""
    found = steps.Steps(os.uname().machine, waiting.socket)
    found.add("prctl", sys.PR_SET_DUMPABLE, 0)
    for fd in (waiting.socket, waiting.fifo, listener.connection if listener else -1):
        if fd >= 0:
            found.add("fcntl", fd, _F_SETFD, _FD_CLOEXEC, flags=steps.IGNORE)
    _add_host_rights(found, settings, linux)
    # Without one all that the cgroup gives, whatever CPUs our caller is bound to (sched_setaffinity(2)).
    bits = sum(1 << cpu for cpu in affinity).to_bytes(128, "little") if affinity else b"\xff" * 128
    found.add("sched_setaffinity", 0, len(bits), bits, what="setting CPU affinity")
    _add_identity(found, settings, identity)
    if not entered:
        cwd = str(settings.get("cwd") or "/")
        found.add("chdir", os.fsencode(cwd), what=f'chdir to cwd ("{cwd}") set in config.json failed')
    needs_admin = bool(filtered) and not settings.get("noNewPrivileges")
    sets = _add_capabilities(found, settings, reserve=capabilities.SYS_ADMIN if needs_admin else 0)
    if settings.get("noNewPrivileges"):
        found.add("prctl", sys.PR_SET_NO_NEW_PRIVS, 1)
    program = _find(settings, identity, env)
    quoted = f'exec: "{settings["args"][0]}"'
    found.add("faccessat2", _AT_FDCWD, program, _X_OK, _AT_EACCESS, what=quoted)
    _add_waits(found, waiting)
    if needs_admin:
        found.add("capset", *_capset(sets[0] | capabilities.SYS_ADMIN, sets[1], sets[2]))
    if filtered:
        code = filtered[8:]
        place = found.pointers([len(code) // 8, found.place(code)])
        found.add("seccomp", sys.SECCOMP_SET_MODE_FILTER, int.from_bytes(filtered[:4], "little"), place)
    if listener:
        _add_telling(found, listener)
    argv = found.strings([os.fsencode(word) for word in settings["args"]])
    what = f"exec {os.fsdecode(program)}"
    found.add("execve", program, argv, found.strings([os.fsencode(entry) for entry in env]), what=what)
    return found


def _add_telling(found: steps.Steps, listener: Listener) -> None:
    """One sendmsg(2): all that the filter has to let through for our sake."""
    rights = pack("<QiiiI", 20, _SOL_SOCKET, _SCM_RIGHTS, listener.number, 0)
    vector = found.pointers([found.place(listener.told), len(listener.told)])
    message = found.pointers([0, 0, vector, 1, found.place(rights), len(rights), 0])
    found.add("sendmsg", listener.connection, message, 0, what="telling the seccomp listener")


def _add_host_rights(found: steps.Steps, settings: dict[str, Any], linux: dict[str, Any]) -> None:
    """What the user of the container might not be allowed to ask for."""
    if priority := settings.get("ioPriority"):
        value = IO_CLASSES[priority["class"]] << 13 | priority.get("priority", 0)
        found.add("ioprio_set", 1, 0, value, what="setting I/O priority")
    if scheduler := settings.get("scheduler"):
        found.add("sched_setattr", 0, _scheduler(scheduler), 0, what="setting scheduler")
    if policy := linux.get("memoryPolicy"):
        mode = MEMORY_MODES[policy["mode"]] | sum(MEMORY_FLAGS[flag] for flag in policy.get("flags") or ())
        nodes = numbers("linux.memoryPolicy.nodes", policy.get("nodes") or "")
        mask = sum(1 << node for node in nodes).to_bytes(128, "little") if nodes else 0
        found.add("set_mempolicy", mode, mask, 1025 if nodes else 0, what="setting memory policy")
    if personality := linux.get("personality"):
        found.add("personality", PERSONALITIES[personality["domain"]])
    for limit in settings.get("rlimits") or ():
        values = pack("<QQ", limit["soft"] & (1 << 64) - 1, limit["hard"] & (1 << 64) - 1)
        found.add("prlimit64", 0, LIMITS[limit["type"]], values, 0, what=f"setting rlimit {limit['type']}")
    for label, place in (
        (settings.get("apparmorProfile"), b"/proc/self/attr/apparmor/exec"),
        (settings.get("selinuxLabel"), b"/proc/self/attr/exec"),
    ):
        if label:
            apparmor.check(place)  # an image may have put something else on /proc (CVE-2019-16884)
            text = f"exec {label}".encode() if b"apparmor" in place else str(label).encode()
            found.add("openat", _AT_FDCWD, place, _O_WRONLY, flags=steps.KEEP, what=f"applying {label}")
            found.add("write", 0, text, len(text), flags=steps.LAST, what=f"applying {label}")
            found.add("close", 0, flags=steps.LAST)
    found.add("umask", (settings.get("user") or {}).get("umask", 0o022))


def _scheduler(asked: dict[str, Any]) -> bytes:
    """struct sched_attr (sched_setattr(2))."""
    flags = 0
    for name in asked.get("flags") or ():
        flags |= SCHED_FLAGS[name]
    times = (asked.get("runtime") or 0, asked.get("deadline") or 0, asked.get("period") or 0)
    head = (48, POLICIES[asked["policy"]], flags, asked.get("nice") or 0, asked.get("priority") or 0)
    return pack("<IIQiIQQQ", *head, *times)


def _add_identity(found: steps.Steps, settings: dict[str, Any], identity: process.Identity) -> None:
    bounding = mask(settings, "bounding")
    for number in range(len(capabilities.NAMES)):
        if not bounding >> number & 1:
            # EINVAL: past the last capability of this kernel.
            found.add("prctl", sys.PR_CAPBSET_DROP, number, flags=steps.IGNORE)
    found.add("prctl", sys.PR_SET_KEEPCAPS, 1)
    # Those of config.json and no other, not even the user's own (config.md, "User").
    asked = (settings.get("user") or {}).get("additionalGids") or ()
    groups = pack(f"<{len(asked)}I", *asked)
    # A user namespace may refuse it (user_namespaces(7), /proc/PID/setgroups): fine for who asks for none.
    found.add("setgroups", len(asked), groups, flags=0 if asked else steps.IGNORE)
    found.add("setresgid", *(identity.gid,) * 3)
    found.add("setresuid", *(identity.uid,) * 3)
    found.add("prctl", sys.PR_SET_KEEPCAPS, 0)
    found.add("prctl", sys.PR_SET_DUMPABLE, 0)


def _add_capabilities(found: steps.Steps, settings: dict[str, Any], *, reserve: int) -> tuple[int, int, int]:
    """As `runtime.capabilities.set_sets`; the sets it leaves."""
    held = sys.capget()[1]
    permitted, inheritable = mask(settings, "permitted") & held, mask(settings, "inheritable") & held
    sets = mask(settings, "effective") & permitted, permitted | reserve & held, inheritable
    found.add("capset", *_capset(*sets))
    found.add("prctl", sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_CLEAR_ALL)
    ambient = mask(settings, "ambient") & permitted & inheritable
    for number in range(len(capabilities.NAMES)):
        if ambient >> number & 1:
            found.add("prctl", sys.PR_CAP_AMBIENT, sys.PR_CAP_AMBIENT_RAISE, number)
    return sets


def mask(settings: dict[str, Any], kind: str) -> int:
    """One of the five sets; names that this kernel has never heard of are no capability (runtime-spec, "Linux
    Process")."""
    names = (settings.get("capabilities") or {}).get(kind) or ()
    return capabilities.mask(name for name in names if name in capabilities.KNOWN)


def _capset(effective: int, permitted: int, inheritable: int) -> tuple[bytes, bytes]:
    low = 0xFFFFFFFF
    sets = (effective, permitted, inheritable)
    halves = [one >> shift & low for shift in (0, 32) for one in sets]
    return pack("<Ii", _CAPABILITY_VERSION, 0), pack("<6I", *halves)


def _find(settings: dict[str, Any], identity: process.Identity, env: list[str]) -> bytes:
    """The program's file, looked for with the user's own rights: whether he may go there decides."""
    if identity.uid == 0 or mask(settings, "ambient"):
        return process.find_program(settings["args"][0], env)
    groups = os.getgroups()
    try:
        os.setgroups(identity.groups)
    except PermissionError:
        pass
    os.setresgid(-1, identity.gid, -1)
    os.setresuid(-1, identity.uid, -1)
    try:
        return process.find_program(settings["args"][0], env)
    finally:
        os.setresuid(-1, 0, -1)
        os.setresgid(-1, 0, -1)
        try:
            os.setgroups(groups)
        except PermissionError:
            pass


def _add_waits(found: steps.Steps, waiting: Waiting) -> None:
    if waiting.told:
        return
    if waiting.socket >= 0:
        found.add("write", waiting.socket, b"R", 1)
        found.add("read", waiting.socket, bytes(8), 8, flags=steps.SOME)
    if waiting.fifo >= 0:
        if waiting.socket >= 0:
            found.add("close", waiting.socket, flags=steps.SILENT)  # the command that made us ends now
        found.add("read", waiting.fifo, bytes(8), 1)
        found.add("close", waiting.fifo)


def execute(found: steps.Steps) -> None:
    """Become it. Raises OSError."""
    sys.execveat(steps.open_program(found), [b"dosirak", b"init"], [])


def environment(env: list[str], identity: process.Identity) -> list[str]:
    """Each variable once, its last value, in the order of their first; an empty HOME is none. As runc."""
    found = dict(entry.partition("=")[::2] for entry in env)
    if not found.get("HOME"):
        found["HOME"] = os.fsdecode(identity.home)
    return [f"{name}={value}" for name, value in found.items()]
