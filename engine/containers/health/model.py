"""What is known of a container's health: plain data, part of its record."""

from __future__ import annotations

import msgspec

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


class Result(msgspec.Struct, frozen=True):
    """One probe: unix times, its exit code (-1: it could not be run, or took too long), what it said."""

    start: float
    end: float
    exit_code: int
    output: str


class Health(msgspec.Struct):
    """`status` is "starting", "healthy" or "unhealthy"; `failing_streak` failures in a row; `log` the last results."""

    status: str = STARTING
    failing_streak: int = 0
    log: list[Result] = msgspec.field(default_factory=list)

    @property
    def words(self) -> str:
        """As `docker ps` has it in brackets."""
        return "health: starting" if self.status == STARTING else self.status
