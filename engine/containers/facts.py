"""What this host can do with containers: looked up once, when the service starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dosirak.engine.containers import security
from dosirak.engine.containers.limits import facts
from dosirak.engine.containers.limits.facts import HostFacts
from dosirak.engine.containers.security import apparmor


@dataclass(frozen=True, slots=True)
class Facts:
    """The host: its cgroups, the capabilities the engine holds, whether it has AppArmor and seccomp filters."""

    limits: HostFacts = field(default_factory=HostFacts)
    capabilities: tuple[str, ...] = ()
    apparmor: bool = False
    seccomp: bool = True


def find() -> Facts:
    """Look at the host."""
    return Facts(
        facts.find(),
        security.available_capabilities(),
        apparmor=apparmor.supported(_read("/sys/module/apparmor/parameters/enabled")),
        seccomp="\nSeccomp:" in _read("/proc/self/status"),
    )


def _read(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default
