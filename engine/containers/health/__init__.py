"""Health checks: a command run in a container again and again, which says whether the container is well.

The service runs them, as execs; a container without a check costs nothing, one with a check a timer between two probes.
`model` is what is known of a container's health, part of its record; `plan` what a check asks for and what a result
means; `probe` runs the command once; `watch` is when, told by the life cycle what happens to the container.
"""

from __future__ import annotations

from dosirak.engine.containers.health.model import Health, Result

__all__ = ["Health", "Result"]
