"""What a container may do: capabilities, `--security-opt`, `--sysctl`, `--device`, `--ulimit`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosirak.engine.containers.documents import DeviceMapping, HostConfig
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.runtime import capabilities
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES

_KNOWN = frozenset(capabilities.NAMES)


def available_capabilities() -> tuple[str, ...]:
    """What the engine itself holds in its bounding set: all that a container can be given."""
    held = []
    for number, name in enumerate(capabilities.NAMES):
        try:
            if sys.prctl(sys.PR_CAPBSET_READ, number):
                held.append(name)
        except OSError:
            break
    return tuple(held)


def choose_capabilities(host: HostConfig, available: Sequence[str]) -> list[str]:
    """`--cap-add`, `--cap-drop` and `--privileged` over Docker's defaults.

    Parameters: `available`: what the engine holds. Raises InvalidRequest "invalid CapAdd: unknown capability: "CAP_X""
    (also where the engine lacks it: a capability asked for by name is never left out silently).
    """
    if host.privileged:
        return list(available)
    added = _normalise("CapAdd", host.cap_add or (), available)
    dropped = _normalise("CapDrop", host.cap_drop or (), available)
    if "ALL" in added:
        return [name for name in available if name not in dropped]
    base = [] if "ALL" in dropped else [name for name in DEFAULT_CAPABILITIES if name not in dropped]
    return list(dict.fromkeys([*base, *added]))


def _normalise(field: str, names: Sequence[str], available: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        upper = name.upper()
        if upper != "ALL" and not upper.startswith("CAP_"):
            upper = f"CAP_{upper}"
        if upper != "ALL" and upper not in _KNOWN:
            raise InvalidRequest(f'invalid {field}: unknown capability: "{upper}"')
        if field == "CapAdd" and upper != "ALL" and upper not in available:
            raise InvalidRequest(
                f"invalid {field}: capability not supported by your kernel or not available in the current environment:"
                f' "{upper}"'
            )
        found.append(upper)
    return found


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """What `--security-opt` asks for. `unmasked`: systempaths=unconfined; `writable_cgroups` None: as privileged."""

    no_new_privileges: bool = False
    unmasked: bool = False
    writable_cgroups: bool | None = None


def parse_security_options(options: Sequence[str], *, apparmor: bool) -> SecurityOptions:
    """Docker's `--security-opt` values. `apparmor`: whether the host has it.

    Raises InvalidRequest for an unknown one, NotSupported for what this engine can't do yet.
    """
    no_new_privileges = unmasked = False
    writable: bool | None = None
    for option in options:
        name, separator, value = option.partition("=" if "=" in option else ":")
        if option in ("no-new-privileges", "writable-cgroups"):
            separator, value = "=", "true"
        if not separator and option != "disable":
            raise InvalidRequest(f'invalid --security-opt 1: "{option}"')
        if name == "no-new-privileges":
            no_new_privileges = _truth(option, value)
        elif name == "writable-cgroups":
            writable = _truth(option, value)
        elif name == "systempaths" and value == "unconfined":
            unmasked = True
        elif name == "seccomp":
            _check_seccomp(value)
        elif name == "apparmor":
            _check_apparmor(value, apparmor)
        elif name not in ("label", "disable"):  # SELinux labels: without SELinux they mean nothing, as in Docker
            raise InvalidRequest(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(no_new_privileges, unmasked, writable)


def _truth(option: str, value: str) -> bool:
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise InvalidRequest(f'invalid --security-opt 2: "{option}"')
    return value.lower() in ("1", "t", "true")


def _check_seccomp(value: str) -> None:
    if value not in ("unconfined", "builtin"):
        raise NotSupported("seccomp profiles are not supported yet: only seccomp=unconfined is")


def _check_apparmor(value: str, apparmor: bool) -> None:
    if value != "unconfined" and not apparmor:
        raise InvalidRequest(f'AppArmor is not supported on this host, but the profile "{value}" was asked for')
    if value != "unconfined":
        raise NotSupported("AppArmor profiles are not supported yet: only apparmor=unconfined is")


# What a namespace of the container's own has (runc, libcontainer/configs/validate).
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_SYSCTL = re.compile(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_:@-]+)+")


def check_sysctls(host: HostConfig) -> None:
    """Only what is namespaced, and whose namespace is the container's own. Raises InvalidRequest."""
    for name in host.sysctls or ():
        if not _SYSCTL.fullmatch(name):
            raise InvalidRequest(f"invalid sysctl name '{name}'")
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if host.ipc_mode == "host" or host.ipc_mode.startswith("container:"):
                raise InvalidRequest(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name.startswith("net."):
            if host.network_mode == "host" or host.network_mode.startswith("container:"):
                raise InvalidRequest(f"sysctl '{name}' not allowed in host network namespace")
        else:
            raise InvalidRequest(f'sysctl "{name}" is not in a separate kernel namespace')


_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"}
    | {"rttime", "sigpending", "stack"}
)


def rlimits(host: HostConfig) -> list[dict[str, Any]]:
    """`--ulimit` as `process.rlimits`; -1 is unlimited. Raises InvalidRequest."""
    found = []
    for limit in host.ulimits or ():
        if limit.name not in _ULIMITS:
            raise InvalidRequest(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise InvalidRequest(
                f"ulimit {limit.name}: soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            )
        values = {"soft": limit.soft & (1 << 64) - 1, "hard": limit.hard & (1 << 64) - 1}
        found.append({"type": f"RLIMIT_{limit.name.upper()}", **values})
    return found


_DEVICE_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")


def device_rules(rules: Sequence[str]) -> list[dict[str, Any]]:
    """`--device-cgroup-rule` as entries of `linux.resources.devices`. Raises InvalidRequest."""
    found = []
    for rule in rules:
        match = _DEVICE_RULE.fullmatch(rule)
        if match is None:
            raise InvalidRequest(f"invalid device cgroup rule format: '{rule}'")
        kind, major, minor, access = match.groups()
        entry: dict[str, Any] = {"allow": True, "type": kind, "access": access}
        entry |= {name: int(number) for name, number in (("major", major), ("minor", minor)) if number != "*"}
        found.append(entry)
    return found


def base_device_rules() -> list[dict[str, Any]]:
    """What every container may do with devices: make any node, use the harmless ones; nothing else."""
    nodes = [("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0), ("c", 5, 1), ("c", 5, 2)]
    return [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *(
            {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}
            for kind, major, minor in nodes
        ),
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    ]


def devices_of(mapping: DeviceMapping) -> list[dict[str, Any]]:
    """`--device`: a node of the host, or all in a directory, as entries of `linux.devices`. Raises InvalidRequest."""
    source = os.path.realpath(mapping.path_on_host)
    target = mapping.path_in_container or mapping.path_on_host
    try:
        if node := _device(source, target):
            return [node]
        found = [
            node
            for folder, _, names in os.walk(source)
            for name in names
            if (node := _device(f"{folder}/{name}", target + folder.removeprefix(source) + f"/{name}"))
        ]
        reason = "not a device node"
    except OSError as error:
        found, reason = [], f"{os.strerror(error.errno or 0).lower()}"
    if not found:
        raise InvalidRequest(
            f'error gathering device information while adding custom device "{mapping.path_on_host}": {reason}'
        )
    return found


def _device(path: str, target: str) -> dict[str, Any] | None:
    info = Path(path).stat()
    kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(info.st_mode))
    if kind is None:
        return None
    major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    entry: dict[str, Any] = {"path": target, "type": kind, "major": major, "minor": minor}
    return entry | {"fileMode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid}


# Made anew in every container, or no devices.
_NOT_HOST_DEVICES = frozenset({"pts", "ptmx", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"})


def host_devices() -> list[dict[str, Any]]:
    """Every device node of the host's /dev, for `--privileged`."""
    found = []
    for folder, folders, names in os.walk("/dev"):
        if folder == "/dev":
            folders[:] = [name for name in folders if name not in _NOT_HOST_DEVICES]
            names = [name for name in names if name not in _NOT_HOST_DEVICES]
        for name in names:
            path = f"{folder}/{name}"
            try:
                node = None if Path(path).is_symlink() else _device(path, path)
            except OSError:
                continue
            if node:
                found.append(node)
    return found
