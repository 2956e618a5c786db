"""features: what this runtime does, and no more (runtime-spec, features.md and features-linux.md)."""

from __future__ import annotations

import os

from dosirak.engine.oci import documents, hooks, state
from dosirak.engine.runtime import capabilities, cgroups, mountopts, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of seccomp.document and .tables, which need more of Python than this command has; a test holds them equal.
ACTIONS = ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP")
OPERATORS = ("EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE")
_FLAGS = ("LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV")
FLAGS = tuple(f"SECCOMP_FILTER_FLAG_{name}" for name in _FLAGS)
# A namespace's file below /proc/self/ns, where it has not its type's name.
_FILES = {"mount": "mnt", "network": "net"}


def text() -> str:
    """As JSON."""
    return documents.pretty(document())


def document() -> dict[str, Any]:
    """The features structure."""
    version = cgroups.version()
    kinds = [kind for kind in namespaces.FLAGS if os.path.exists(f"/proc/self/ns/{_FILES.get(kind, kind)}")]
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": state.VERSION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(mountopts.NAMES),
        "linux": {
            "namespaces": sorted(kinds),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {
                "v1": version == "1",
                "v2": version == "2",
                "systemd": False,
                "systemdUser": False,
                "rdma": False,
            },
            "seccomp": {
                "enabled": True,
                "actions": [f"SCMP_ACT_{name}" for name in ACTIONS],
                "operators": [f"SCMP_CMP_{name}" for name in OPERATORS],
                "knownFlags": list(FLAGS),
                "supportedFlags": list(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "potentiallyUnsafeConfigAnnotations": ["dosirak.groups"],
    }
