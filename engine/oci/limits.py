"""pause, resume and update."""

from __future__ import annotations

import json
import sys

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import state
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dosirak.engine.oci.arguments import Options

# option → (group, key) of linux.resources; numbers
_NUMBERS = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}
_WORDS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
OPTIONS = " ".join((*_NUMBERS, *_WORDS, "resources,r"))
"""What `update` takes, as `arguments.Grammar` has it."""


def pause(found: state.State) -> None:
    """Freeze all its processes. Raises Failure."""
    if found.status() not in ("created", "running"):
        raise Failure("container not running")
    cgroups.freeze(found.cgroup)


def resume(found: state.State) -> None:
    """Let them go on. Raises Failure."""
    if found.status() == "stopped" or not cgroups.frozen(found.cgroup):
        raise Failure("container not paused")
    cgroups.thaw(found.cgroup)


def update(found: state.State, options: Options) -> None:
    """Change limits: from a document of linux.resources (-r FILE, - for standard input), or one by one.

    Raises Failure, OSError.
    """
    if found.status() == "stopped":
        raise Failure("container not running")
    cgroups.update(found.cgroup, _resources(options))


def _resources(options: Options) -> dict[str, Any]:
    if source := options.get("resources"):
        if source != "-":
            return bundles.read(source)
        try:
            given = json.loads(sys.stdin.read())
        except ValueError as error:
            raise Failure(f"resources: {error}") from error
        if not isinstance(given, dict):
            raise Failure("resources: not a JSON object")
        return given
    resources: dict[str, Any] = {}
    for name, (group, key) in _NUMBERS.items():
        if name in options.values:
            resources.setdefault(group, {})[key] = options.number(name)
    for name, (group, key) in _WORDS.items():
        if name in options.values:
            resources.setdefault(group, {})[key] = options.get(name)
    return resources
