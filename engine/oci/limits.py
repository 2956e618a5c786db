"""pause, resume and update."""

from __future__ import annotations

import sys

from dosirak.engine.oci import bundle as bundles
from dosirak.engine.oci import documents, state
from dosirak.engine.oci.failure import Failure, warn
from dosirak.engine.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dosirak.engine.oci.arguments import Options

# option → (group, key) of linux.resources; numbers
_NUMBERS = {
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
    "blkio-weight": ("blockIO", "weight"),
}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
}
_IGNORED = ("kernel-memory", "kernel-memory-tcp")  # runc's too: the kernel has given them up
_REFUSED = ("l3-cache-schema", "mem-bw-schema")
_UNITS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_WORDS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
OPTIONS = " ".join((*_NUMBERS, *_SIZES, *_WORDS, *_IGNORED, *_REFUSED, "resources,r"))
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
    for name in _REFUSED:
        if options.get(name):
            raise Failure(f"--{name}: Intel RDT is not supported by this runtime")
    if any(options.get(name) for name in _IGNORED):
        warn("Kernel memory settings are ignored and will be removed")
    resources = _resources(options)
    _complete_memory(resources)
    resources.pop("devices", None)  # as in runc: rules are for `create`
    cgroups.update(found.cgroup, resources)


def _resources(options: Options) -> dict[str, Any]:
    if source := options.get("resources"):
        if source != "-":
            return bundles.read(source)
        try:
            given = documents.loads(sys.stdin.buffer.read())
        except ValueError as error:
            raise Failure(f"resources: {error}") from error
        if not isinstance(given, dict):
            raise Failure("resources: not a JSON object")
        return given
    resources: dict[str, Any] = {}
    for name, (group, key) in _NUMBERS.items():
        if name in options.values:
            resources.setdefault(group, {})[key] = options.number(name)
    for name, (group, key) in _SIZES.items():
        if name in options.values:
            resources.setdefault(group, {})[key] = _size(name, options.get(name))
    for name, (group, key) in _WORDS.items():
        if name in options.values:
            resources.setdefault(group, {})[key] = options.get(name)
    return resources


def _complete_memory(resources: dict[str, Any]) -> None:
    """No limit of memory is none of memory and swap either, which the kernel won't have below it."""
    memory = resources.get("memory") or {}
    if memory.get("limit") == -1 and memory.get("swap") is None:
        memory["swap"] = -1


def _size(name: str, text: str) -> int:
    """Bytes, or a number with a unit of 1024 ("64m", "1.5GiB"). Raises Failure."""
    lowered = text.strip().lower().removesuffix("ib").removesuffix("b") or text.lower()
    unit = lowered[-1:] if lowered[-1:] in _UNITS else "b"
    try:
        return int(float(lowered.removesuffix(unit)) * (1 << _UNITS[unit]))
    except ValueError:
        raise Failure(f"invalid value for {name}: invalid size: '{text}'") from None
