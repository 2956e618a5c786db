"""What a health check asks for, and what its results mean. Pure.

Defaults and rules are Docker's (moby, daemon/health.go).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dosirak.engine.containers.documents import ContainerConfig
from dosirak.engine.containers.health.model import HEALTHY, STARTING, UNHEALTHY, Health, Result

_KEPT = 5  # results
_INTERVAL = _TIMEOUT = 30.0
_START_INTERVAL = 5.0
_RETRIES = 3


class Plan(msgspec.Struct, frozen=True):
    """A health check with Docker's defaults filled in. Times in seconds.

    `interval`: from the end of one probe to the next, and before the first; `start_interval` takes its place until the
    first success within `start_period`, in which failures don't count. `retries`: failures in a row until unhealthy.
    """

    command: Sequence[str]
    interval: float = _INTERVAL
    timeout: float = _TIMEOUT
    start_period: float = 0.0
    start_interval: float = _START_INTERVAL
    retries: int = _RETRIES


def plan(config: ContainerConfig) -> Plan | None:
    """The container's check; None without one."""
    check = config.healthcheck
    if check is None or not check.test:
        return None
    kind, *words = check.test
    if kind == "CMD-SHELL":
        words = [*(config.shell or ("/bin/sh", "-c")), *words]
    elif kind != "CMD":
        return None  # NONE, or what Docker only complains of in its log
    return Plan(
        command=words,
        interval=check.interval / 1e9 or _INTERVAL,
        timeout=check.timeout / 1e9 or _TIMEOUT,
        start_period=check.start_period / 1e9,
        start_interval=check.start_interval / 1e9 or _START_INTERVAL,
        retries=check.retries or _RETRIES,
    )


def pause(plan: Plan, health: Health, running_for: float) -> float:
    """Seconds until the next probe. Parameters: `running_for`: seconds since the container's start."""
    starting = health.status == STARTING and running_for < plan.start_period
    return plan.start_interval if starting else plan.interval


def judge(plan: Plan, health: Health, result: Result, started_at: float) -> bool:
    """Take a result into account; whether the status is another one now. Parameters: `started_at`: unix seconds."""
    before = health.status
    health.log = [*health.log[1 - _KEPT :], result]
    if result.exit_code == 0:
        health.status, health.failing_streak = HEALTHY, 0
    elif before != STARTING or result.start - started_at >= plan.start_period:
        health.failing_streak += 1
        if health.failing_streak >= plan.retries:
            health.status = UNHEALTHY
    return health.status != before


def go_duration(seconds: float) -> str:
    """Seconds as Go writes a duration: "1m30s", "1.5s", "500ms"."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1000)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.6f}".rstrip("0").rstrip(".") + unit
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    words = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{words}"
    return f"{minutes}m{words}" if minutes else words
