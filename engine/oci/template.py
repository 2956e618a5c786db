"""spec: a config.json to begin with, as `runc spec` writes one."""

from __future__ import annotations

import json
import os

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci.failure import Failure
from dosirak.engine.oci.state import VERSION
from dosirak.engine.runtime import defaults
from dosirak.engine.runtime.process import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def write(bundle: str) -> None:
    """Write it into a bundle, which must have none. Raises Failure, OSError."""
    path = os.path.join(bundle or ".", bundles.FILE)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Failure(f"File {path} exists. Remove it first") from None
    with open(fd, "w") as file:
        file.write(json.dumps(document(), indent="\t"))


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
            "namespaces": [{"type": kind} for kind in _NAMESPACES],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
        },
    }
