"""`process` of config.json: who it is, what it may, where it stands, what it runs. Ends in execve(2).

The order of the steps follows runc and the kernel's own demands (capabilities(7), "Effect of user ID changes"):
bounding set first (needs CAP_SETPCAP), groups before gid before uid, kept capabilities narrowed then. The seccomp
filter comes last of all, with execve the only call after it, so a profile needs to allow nothing for our sake.
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from dosirak.engine.runtime import capabilities, inroot, privilege, users
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What stands before the instructions of a compiled filter, in bytes.
_FILTER_HEADER = 8
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotExec(Exception):
    """The command can't be run; `exit_code` is what a shell would say: 127 not found, 126 not executable."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Identity:
    """A process's user as numbers, with its home directory."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: bytes) -> None:
        self.uid, self.gid, self.groups, self.home = uid, gid, groups, home


def identify(process: dict[str, Any], extra_groups: list[str], root_fd: int) -> Identity:
    """The user of `process`: numbers as they stand, or `username` ("name[:group]") by the container's own files.

    Raises users.UnknownUser.
    """
    user = process.get("user") or {}
    if user.get("username"):
        uid, gid, groups, home = users.resolve(root_fd, user["username"], extra_groups)
        return Identity(uid, gid, groups + list(user.get("additionalGids") or ()), home)
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    if extra_groups:
        _, _, groups, _ = users.resolve(root_fd, f"{uid}:{gid}", extra_groups)
    else:
        groups = [gid] if user.get("additionalGids") is None else []
    return Identity(uid, gid, groups + list(user.get("additionalGids") or ()), users.home_of(root_fd, uid))


# Docker's, which are systemd's and the kernel's: (soft, hard), -1 is unlimited.
_LIMITS = {
    "RLIMIT_AS": (-1, -1),
    "RLIMIT_CORE": (-1, -1),
    "RLIMIT_CPU": (-1, -1),
    "RLIMIT_DATA": (-1, -1),
    "RLIMIT_FSIZE": (-1, -1),
    "RLIMIT_MEMLOCK": (8 << 20, 8 << 20),
    "RLIMIT_NOFILE": (1024, 524288),
    "RLIMIT_NPROC": (-1, -1),
    "RLIMIT_RSS": (-1, -1),
    "RLIMIT_STACK": (8 << 20, -1),
}


def _usual_limits() -> dict[str, tuple[int, tuple[int, int]]]:
    """Those of `_LIMITS` that differ from ours, as far as we may go; by name, with their numbers."""
    found = {}
    for name, (soft, hard) in _LIMITS.items():
        number = getattr(resource, name)
        ours = resource.getrlimit(number)
        if privilege.here().confined or not sys.capget()[0] >> 24 & 1:  # CAP_SYS_RESOURCE
            soft, hard = _least(soft, ours[1]), _least(hard, ours[1])
        if ours != (soft, hard):
            found[name] = number, (soft, hard)
    return found


def _least(one: int, other: int) -> int:
    return max(one, other) if -1 in (one, other) else min(one, other)


# Whoever started the engine (a notebook's server, a shell) may have limits of its own: no container is to inherit them.
_USUAL_LIMITS = _usual_limits()


def set_limits(process: dict[str, Any]) -> None:
    """Rlimits: those asked for, Docker's defaults for the rest. Raises OSError."""
    asked = {limit["type"] for limit in process.get("rlimits") or ()}
    for name, (kind, values) in _USUAL_LIMITS.items():
        if name not in asked:
            try:
                resource.setrlimit(kind, values)
            except ValueError:
                continue  # in a user namespace the right to raise one says nothing
    for limit in process.get("rlimits") or ():
        number = getattr(resource, limit["type"], None)
        if number is None:
            raise OSError(errno.EINVAL, f"unknown rlimit {limit['type']}")
        soft, hard = (min(value, resource.RLIM_INFINITY & (1 << 64) - 1) for value in (limit["soft"], limit["hard"]))
        try:
            resource.setrlimit(number, (_signed(soft), _signed(hard)))
        except ValueError as error:
            raise OSError(errno.EPERM, f"can't raise {limit['type']} to {hard}: {error}") from error


def _signed(value: int) -> int:
    """Python takes "unlimited" as -1."""
    return -1 if value >= (1 << 64) - 1 else value


def become(process: dict[str, Any], identity: Identity, *, filtered: bool) -> None:
    """Take on the user, the capability sets and no_new_privs. `filtered`: `confine` follows. Raises OSError."""
    sets = process.get("capabilities") or {}
    capabilities.drop_bounding(capabilities.mask(sets.get("bounding", ())))
    sys.prctl(sys.PR_SET_KEEPCAPS, 1)
    try:
        if not privilege.here().single:  # setgroups(2) is denied there
            os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise OSError(errno.EINVAL, f"user {identity.uid}:{identity.gid}: {privilege.NO_SUCH_ID}") from error
    sys.prctl(sys.PR_SET_KEEPCAPS, 0)
    # The kernel has made us dumpable again where fs.suid_dumpable is 1 (proc(5)).
    sys.prctl(sys.PR_SET_DUMPABLE, 0)
    os.umask((process.get("user") or {}).get("umask", 0o022))
    if process.get("noNewPrivileges"):
        sys.prctl(sys.PR_SET_NO_NEW_PRIVS, 1)
    # A user by name is Docker's: without root only the bounding set stays, whatever its numbers turn out to be.
    named = {} if identity.uid and (process.get("user") or {}).get("username") else sets
    # Without no_new_privs a filter takes CAP_SYS_ADMIN to load (seccomp(2)); unless it is in the bounding set, execve
    # takes it away.
    reserve = capabilities.SYS_ADMIN if filtered and not process.get("noNewPrivileges") else 0
    capabilities.set_sets(named, reserve=reserve)


def confine(process: dict[str, Any], program: bytes) -> int:
    """Load a compiled filter (`seccomp.compiler`: flags, then instructions). Raises OSError.

    Returns a descriptor of what it asks, if it asks anything (SCMP_ACT_NOTIFY), else 0.
    """
    if not process.get("noNewPrivileges"):
        capabilities.raise_effective(capabilities.SYS_ADMIN)
    return sys.seccomp(program[_FILTER_HEADER:], int.from_bytes(program[:4], "little"))


def make_cwd(cwd: str, root_fd: int) -> None:
    """A working directory that the image lacks is made, as Docker does. Raises OSError."""
    try:
        os.close(inroot.open_in_root(root_fd, cwd, os.O_PATH))
    except FileNotFoundError:
        os.close(inroot.make_dirs(root_fd, cwd))


def enter_cwd(cwd: str, *, denied_is_fine: bool = False) -> bool:
    """chdir, after the pivot; a directory outside the root (a leaked descriptor, CVE-2024-21626) is refused.

    Returns whether it went there; false only when it was not permitted, and that is fine. Raises OSError.
    """
    try:
        os.chdir(cwd)
        here = os.getcwdb()
    except OSError as error:
        if denied_is_fine and isinstance(error, PermissionError):
            return False
        reason = os.strerror(error.errno or 0).lower()
        raise OSError(error.errno, f'chdir to cwd ("{cwd}") set in config.json failed: {reason}') from error
    if not here.startswith(b"/"):
        raise OSError(errno.ENOENT, f'cwd ("{cwd}") is outside of the container')
    return True


def reset_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and ignored signals survive execve: all to their defaults, none blocked."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def find_program(name: str, env: list[str]) -> bytes:
    """The file that `name` runs, by the container's own PATH. Raises CannotExec in runc's words."""
    quoted = f'exec: "{name}"'
    if "/" in name:
        try:
            return _executable(os.fsencode(name))
        except FileNotFoundError as error:
            raise CannotExec(f"{quoted}: stat {name}: no such file or directory", 127) from error
        except NotADirectoryError as error:
            raise CannotExec(f"{quoted}: stat {name}: not a directory", 127) from error
        except IsADirectoryError as error:
            raise CannotExec(f"{quoted}: is a directory", 126) from error
        except OSError as error:
            raise CannotExec(f"{quoted}: {os.strerror(error.errno or 0).lower()}", 126) from error
    path = next((item[5:] for item in env if item.startswith("PATH=")), DEFAULT_PATH)
    denied = False
    for directory in path.split(":"):
        try:
            return _executable(os.fsencode(f"{directory or '.'}/{name}"))
        except PermissionError:
            denied = True
        except OSError:
            continue
    if denied:
        raise CannotExec(f"{quoted}: permission denied", 126)
    raise CannotExec(f"{quoted}: executable file not found in $PATH", 127)


def _executable(path: bytes) -> bytes:
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not found.st_mode & 0o111 or not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return path


def run(program: bytes, process: dict[str, Any], env: list[str], init: int = -1) -> None:
    """execve; returns only by CannotExec.

    Parameters: `program`: as `find_program` found it; `init`: a descriptor of what is to run it as its child (init.c
    says how it is told), or -1.
    """
    argv = [os.fsencode(argument) for argument in process["args"]]
    environment = [os.fsencode(item) for item in env]
    try:
        if init >= 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            sys.execveat(init, [b"/sbin/docker-init", b"--", *argv], [program, *environment])
        sys.execve(program, argv, environment)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        reason = os.strerror(error.errno or 0).lower()
        raise CannotExec(f"exec {os.fsdecode(program)}: {reason}", code) from error
