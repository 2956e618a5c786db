"""spec: a config.json to begin with, as `runc spec` writes one."""

from __future__ import annotations

import os

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import documents
from dosirak.engine.oci.failure import Failure
from dosirak.engine.oci.state import VERSION
from dosirak.engine.runtime import cgroups, defaults
from dosirak.engine.runtime.process import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount")  # on v2 the cgroup namespace too, as in runc


def write(bundle: str, *, rootless: bool) -> None:
    """Write it into a bundle, which must have none. Parameters: `rootless`: for a user namespace in which its root is
    this user. Raises Failure, OSError."""
    path = os.path.join(bundle or ".", bundles.FILE)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Failure(f"File {path} exists. Remove it first") from None
    with open(fd, "w") as file:
        file.write(documents.pretty(without_root(document()) if rootless else document(), "\t"))


def document() -> dict[str, Any]:
    """A shell at a terminal, in namespaces of its own, with few rights."""
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={DEFAULT_PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "dosirak",
        "mounts": defaults.mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in (*_NAMESPACES, *(("cgroup",) if cgroups.version() == "2" else ()))
            ],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
        },
    }


def without_root(config: dict[str, Any]) -> dict[str, Any]:
    """The same in a user namespace that has this user alone: what only the host's root may do is left out, as in
    `runc spec --rootless`."""
    linux = config["linux"]
    kept = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    linux["namespaces"] = [*kept, {"type": "user"}]
    for name, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        linux[name] = [{"containerID": 0, "hostID": own, "size": 1}]
    del linux["resources"]
    mounts = []
    for mount in config["mounts"]:
        if mount["destination"] == "/sys":  # a sysfs of its own takes a network namespace of its own
            options = ["rbind", "nosuid", "noexec", "nodev", "ro"]
            mount = {"destination": "/sys", "type": "none", "source": "/sys", "options": options}
        options = [option for option in mount.get("options") or () if not option.startswith(("uid=", "gid="))]
        mounts.append(mount | {"options": options})
    config["mounts"] = mounts
    return config
