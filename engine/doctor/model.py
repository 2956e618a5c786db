"""What was seen of a host, and what that means for who wants containers there: plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "limited", "missing"]
"""limited: containers run, and something that they could have is not there. missing: they do not run."""


class Cgroups(msgspec.Struct, frozen=True):
    """`mode`: v2, v1, hybrid, none. `controllers`: those that can be used; `writable`: whether groups can be made."""

    mode: str = "none"
    controllers: tuple[str, ...] = ()
    writable: bool = False


class Ids(msgspec.Struct, frozen=True):
    """Who runs this. `confined`: root of a user namespace. `subuids`, `subgids`: how many ids besides the own one;
    `free`: from which one on nobody has any."""

    uid: int = 0
    name: str = "root"
    confined: bool = False
    subuids: int = 0
    subgids: int = 0
    free: int = 100_000

    @property
    def ordinary(self) -> bool:
        """Whether this is not root of the machine."""
        return self.uid != 0 or self.confined


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a host.

    `tried`: what was tried, and the kernel's words where it did not work ("" where it did). `programs`: by name, where
    each is ("" for nowhere). `settings`: files below /proc/sys by name with dots, those that are there; `locked`: those
    of them that can't be written. `place`: the engine's root, of what kind its file system is, and its free bytes.
    """

    release: str = ""
    machine: str = ""
    system: str = ""
    family: tuple[str, ...] = ()
    container: str = ""
    wsl: int = 0
    capable: bool = True
    ids: Ids = Ids()
    cgroups: Cgroups = Cgroups()
    tried: dict[str, str] = {}
    programs: dict[str, str] = {}
    settings: dict[str, str] = {}
    locked: tuple[str, ...] = ()
    tun: bool = False
    modules: tuple[str, ...] = ()
    place: str = ""
    filesystem: str = ""
    free: int = 0
    quota: bool = False

    @property
    def version(self) -> tuple[int, int]:
        """The kernel's, as far as features go by it."""
        numbers = self.release.split("-")[0].split(".")
        return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 and "".join(numbers[:2]).isdecimal() else (0, 0)


class Finding(msgspec.Struct, frozen=True):
    """One thing: what was found, what its lack costs, and what would give it (a command, or what to do)."""

    check: str
    state: State
    found: str
    cost: str = ""
    remedy: str = ""


class Report(msgspec.Struct, frozen=True):
    """All findings, in the order in which they matter."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing necessary is missing."""
        return all(finding.state != "missing" for finding in self.findings)
