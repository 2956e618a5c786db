"""state, list and ps."""

from __future__ import annotations

import json
import pwd

from dosirak.engine.oci import state
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def show(found: state.State) -> str:
    """The state as JSON."""
    return json.dumps(found.public(), indent=2)


def listing(root: str, *, form: str, quiet: bool) -> str:
    """All containers of a root: a table, JSON (`form`), or only their names. Raises Failure."""
    if form not in ("table", "json"):
        raise Failure("invalid format option")
    found = []
    for name in state.names(root):
        try:
            found.append(state.load(root, name).public())
        except Failure:
            continue  # it is being made, or has just gone
    if quiet:
        return "\n".join(entry["id"] for entry in found)
    if form == "json":
        return json.dumps(found)
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [
        (entry["id"], entry["pid"], entry["status"], entry["bundle"], entry["created"], _user(entry["owner"]))
        for entry in found
    ]
    return _table(rows)


def processes(found: state.State, *, form: str) -> str:
    """The processes in a container: a table, or their pids as JSON (`form`). Raises Failure."""
    if form not in ("table", "json"):
        raise Failure("invalid format option")
    pids = cgroups.processes(found.cgroup)
    if form == "json":
        return json.dumps(pids)
    rows: list[Sequence[Any]] = [("UID", "PID", "PPID", "CMD")]
    for pid in pids:
        try:
            rows.append(_process(pid))
        except (OSError, IndexError, StopIteration):
            continue  # it has just ended
    return _table(rows)


def _process(pid: int) -> tuple[str, int, str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").split(b"\0")
    command = b" ".join(words).decode("utf-8", "replace") or f"[{fields['Name']}]"
    return _user(fields["Uid"].split()[0]), pid, fields["PPid"], "".join(c if c.isprintable() else "?" for c in command)


def _user(number: str) -> str:
    try:
        return pwd.getpwuid(int(number)).pw_name
    except KeyError:
        return f"#{number}"


def _table(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
