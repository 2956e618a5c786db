"""What containers leave on a machine when an engine forgets: seen through the kernel's own lists, not through ours."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
_LINK = re.compile(r"^(dosirak|dsk|veth|br-[0-9a-f]{12}$)")
_TABLE = re.compile(r"dosirak|dsk")
_PROGRAM = re.compile(rb"dosirak[./]engine|engine/supervision/launcher")


class Process:
    """One line of /proc that has to do with an engine; `others`: of a user whose environment is closed to us."""

    def __init__(self, pid: int, command: str, mark: str | None, *, others: bool = False) -> None:
        self.pid, self.command, self.mark, self.others = pid, command, mark, others

    @property
    def is_service(self) -> bool:
        """Whether this is an engine service (its launcher, monitors and containers have clean environments)."""
        return "dosirak.engine.service" in self.command

    def __str__(self) -> str:
        return f"process {self.pid}: {self.command[:160]}"


def engine_processes(variable: str) -> list[Process]:
    """Every process that is part of an engine or of its containers; `mark` is its `variable` of the environment.

    A container's environment is clean, so those are known by their cgroup alone and have no mark.
    """
    return [process for pid in _pids() if (process := _engine_process(pid, variable.encode())) is not None]


def _engine_process(pid: int, variable: bytes) -> Process | None:
    try:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return None
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        cgroup = Path(f"/proc/{pid}/cgroup").read_bytes()
    except OSError:
        return None
    if pid in (os.getpid(), os.getppid()) or not (_PROGRAM.search(command) or b":/dosirak/" in cgroup):
        return None
    shown = command.replace(b"\0", b" ").decode(errors="replace")
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        return Process(pid, shown, None, others=True)
    except OSError:
        return None
    mark = next((e[len(variable) + 1 :] for e in environment.split(b"\0") if e.startswith(variable + b"=")), None)
    return Process(pid, shown, mark.decode() if mark else None)


def mounts() -> set[str]:
    """Mounts of any mount namespace but a container's own that an engine may have made."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if re.search(r"dosirak|/dsk-", line):
            found.add(f"mount {line.split()[4]} ({line.rpartition(' - ')[2]})"[:300])
    return found


def links() -> set[str]:
    """Network interfaces of this namespace that look like an engine's."""
    return {f"link {name}" for name in os.listdir("/sys/class/net") if _LINK.match(name)}


def cgroups() -> set[str]:
    """Control groups under any hierarchy's `dosirak`, and those parents themselves when they hold something."""
    return {f"cgroup {path}" for path in _engine_cgroups()}


def _engine_cgroups() -> Iterator[Path]:
    tops = [CGROUPS, *(entry for entry in CGROUPS.iterdir() if entry.is_dir())]
    for top in tops:
        ours = top / "dosirak"
        if ours.is_dir():
            yield from (entry for entry in ours.iterdir() if entry.is_dir())


def remove_empty_parents() -> None:
    """The last service to end does this; tests of the runtime alone have no service."""
    for parent in (CGROUPS / "dosirak", *CGROUPS.glob("*/dosirak")):
        with contextlib.suppress(OSError):
            parent.rmdir()


def tables() -> set[str]:
    """nf_tables tables of this network namespace with our name."""
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.nftables.main import NFTables

    try:
        netlink = NFTables()
    except OSError:
        return set()
    try:
        names = [dict(table["attrs"]).get("NFTA_TABLE_NAME", "") for table in netlink.get_tables()]
    except NetlinkError:
        return set()  # an ordinary user, who has none here
    finally:
        netlink.close()
    return {f"nf_tables table {name}" for name in names if _TABLE.search(name)}


def namespaces() -> set[str]:
    """Named network namespaces."""
    found = set()
    for folder in ("/run/netns", "/run/dosirak/netns"):
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            found |= {f"netns {folder}/{name}" for name in os.listdir(folder)}
    return found


def everything() -> set[str]:
    """All of the above but processes, one line each."""
    return mounts() | links() | cgroups() | tables() | namespaces()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())
