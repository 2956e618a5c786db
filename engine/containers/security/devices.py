"""`--device`, `--device-cgroup-rule` and what every container may do with devices."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dosirak.engine.containers.documents import DeviceMapping
from dosirak.engine.errors import InvalidRequest

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
