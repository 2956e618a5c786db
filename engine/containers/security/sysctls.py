"""`--sysctl`: only what is a namespace's own."""

from __future__ import annotations

import re

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import InvalidRequest

# What an IPC namespace has (runc, libcontainer/configs/validate).
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_SYSCTL = re.compile(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_:@-]+)+")


def check_sysctls(host: HostConfig) -> None:
    """Only what is namespaced, and whose namespace is not the host's. Raises InvalidRequest in runc's words."""
    for name in host.sysctls or ():
        if not _SYSCTL.fullmatch(name):
            raise InvalidRequest(f"invalid sysctl name '{name}'")
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if host.ipc_mode == "host":
                raise InvalidRequest(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name.startswith("net."):
            if host.network_mode == "host":
                raise InvalidRequest(f'sysctl "{name}" not allowed in host network namespace')
        elif name == "kernel.hostname" and host.uts_mode != "host":
            raise InvalidRequest(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
        elif name != "kernel.domainname" or host.uts_mode == "host":
            raise InvalidRequest(f'sysctl "{name}" is not in a separate kernel namespace')
