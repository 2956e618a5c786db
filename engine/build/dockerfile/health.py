"""HEALTHCHECK: its command and its times."""

from __future__ import annotations

import re

from dosirak.engine.build.dockerfile import instructions as typed
from dosirak.engine.build.dockerfile.ast import Node
from dosirak.engine.build.dockerfile.duration import parse_duration
from dosirak.engine.build.dockerfile.flags import Flags, Kind
from dosirak.engine.build.errors import DockerfileError

_HEALTH_TIMES = ("interval", "timeout", "start-period", "start-interval")
_HEALTH_FLAGS = dict.fromkeys((*_HEALTH_TIMES, "retries"), Kind.VALUE)


def healthcheck(node: Node) -> typed.Healthcheck:
    """A HEALTHCHECK, typed. Raises DockerfileError."""
    if not node.args:
        raise DockerfileError("HEALTHCHECK requires at least one argument")
    kind, *words = node.args
    if kind.upper() == "NONE":
        if words:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return typed.Healthcheck(text=node.text, lines=node.lines, test=("NONE",))
    flags = Flags(node.flags, _HEALTH_FLAGS)
    if kind.upper() != "CMD":
        raise DockerfileError(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    if not words:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (_health_time(flags, name) for name in _HEALTH_TIMES)
    return typed.Healthcheck(
        text=node.text,
        lines=node.lines,
        test=("CMD" if node.json else "CMD-SHELL", *words),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(flags.value("retries")),
    )


def _health_time(flags: Flags, name: str) -> int:
    text = flags.value(name)
    duration = parse_duration(text) if text else 0
    if duration and duration < 1_000_000:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms')
    return duration


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not -(2**31) <= int(text) < 2**31:
        raise DockerfileError(f'invalid value "{text}" for --retries: a whole number is needed')
    if int(text) < 0:
        raise DockerfileError(f"--retries cannot be negative ({int(text)})")
    return int(text)
