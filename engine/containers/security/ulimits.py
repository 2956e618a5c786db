"""`--ulimit`."""

from __future__ import annotations

from typing import Any

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import InvalidRequest

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
