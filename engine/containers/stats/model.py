"""A sample: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dosirak.engine.runtime.cgroups.statistics import Figures


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface's counters since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What a container has used up to `read_ns` (unix time, nanoseconds).

    `system_cpu`: nanoseconds all processors of the host spent, idle ones too; `cpus`: how many there are;
    `memory_limit`: the cgroup's, or the machine's memory where that is less. `interfaces`: its own network's, by name.
    """

    read_ns: int
    figures: Figures
    memory_limit: int
    system_cpu: int
    cpus: int
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
