"""Where systemd runs: a part of the cgroup tree that it has handed to this engine.

There the tree is systemd's, and others may make groups only in what it delegates (systemd.io/CGROUP_DELEGATION). So
the service asks it, over D-Bus, for a scope of its own with Delegate=yes, and moves there from the notebook's service
or the login's session, whose end would otherwise be that of the monitors too:

    system.slice/dosirak-0123456789ab.scope/   (below user@UID.service/app.slice for a user)
        engine/           the service, the launcher, the monitors: a group that has others may hold no process itself
        CONTAINER's ID/   one each

The scope lasts as long as a process is in it, so containers and monitors of a killed service keep it for the next one.
Without systemd, on cgroup v1, or where it refuses, groups are made by plain files below `dosirak`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v2

log = logging.getLogger("dosirak.service")

_RUNS = Path("/run/systemd/system")  # sd_booted(3)
_OURS = "engine"
_NOTE = "cgroup"


def enter(run: Path) -> None:
    """Have the engine whose directory for sockets is `run` keep its groups where this host wants them.

    The process is moved with all its threads; what it forks later is there too. A user calls this before entering a
    user namespace: the bus asks who we are outside. What is a user's own is then found by `v2.detect_delegated`.
    """
    if (tree := v2.detect()) is None:
        return
    parent = _scope(tree, run) if _RUNS.is_dir() else ""
    if os.geteuid() != 0:
        return
    note = run / _NOTE
    before = note.read_text().strip() if note.exists() else ""
    if before and before != (parent or cgroups.PARENT) and tree.holds_groups(before):
        log.warning("cgroups stay below %s, where containers run", before)
        parent = before
    if parent:
        cgroups.settle(parent)
    if before != cgroups.parent():
        note.write_text(cgroups.parent())


def _scope(tree: v2.Hierarchy, run: Path) -> str:
    """The scope's path in the tree, "" where there is none to be had."""
    name = hashlib.sha256(os.fsencode(run)).hexdigest()[:12].join(v2.SCOPE)
    if not (path := _own(name)):
        from dosirak.engine.service import systemd  # with its D-Bus library, for hosts that have one

        try:
            systemd.move_into(name, _OURS)
        except systemd.Refused as error:
            log.warning("no scope of systemd's for the containers, plain cgroups instead: %s", error)
            return ""
        path = _own(name)
    try:
        tree.move_into(f"{path}/{_OURS}")
    except OSError as error:
        log.warning("systemd's scope can't be used, plain cgroups instead: %s", error)
        return ""
    return path


def _own(name: str) -> str:
    """The path of the group of that name which this process is in, "" if it isn't."""
    found = Path("/proc/self/cgroup").read_text().strip().partition("0::/")[2]
    above, part, _ = f"{found}/".partition(f"/{name}/")
    return above + part.rstrip("/") if part else ""
