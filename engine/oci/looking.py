"""state, list and ps."""

from __future__ import annotations

import os

from dosirak.engine.oci import documents, state
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


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
        return documents.dumps(found)
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [
        (entry["id"], entry["pid"], entry["status"], entry["bundle"], entry["created"], entry["owner"])
        for entry in found
    ]
    return _table(rows)


def processes(found: state.State, *, form: str, columns: list[str]) -> str:
    """The processes in a container: a table, or their pids as JSON (`form`). Raises Failure.

    The table is that of the host's ps, called with `columns` (-ef), as in runc; without a ps a small one of our own.
    """
    if form not in ("table", "json"):
        raise Failure("invalid format option")
    pids = cgroups.processes(found.cgroup)
    if form == "json":
        return documents.dumps(pids)
    if (told := _ps(columns or ["-ef"], pids)) is not None:
        return told
    rows: list[Sequence[Any]] = [("UID", "PID", "PPID", "CMD")]
    for pid in pids:
        try:
            rows.append(_process(pid))
        except (OSError, IndexError, StopIteration):
            continue  # it has just ended
    return _table(rows)


def _ps(arguments: list[str], pids: list[int]) -> str | None:
    """Those lines of ps that tell of these processes; None where there is no ps. Raises Failure."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)]
        pid = os.posix_spawnp("ps", ["ps", *arguments], os.environ, file_actions=actions)
    except FileNotFoundError:
        os.close(read)
        return None
    finally:
        os.close(write)
    with open(read, "rb") as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise Failure(f"ps: exit status {status}: {' '.join(lines)}")
    heading = lines[0].split() if lines else []
    if "PID" not in heading:
        raise Failure("couldn't find PID field in ps output")
    column, inside = heading.index("PID"), {str(one) for one in pids}
    return "\n".join(lines[:1] + [line for line in lines[1:] if inside.intersection(line.split()[column : column + 1])])


def _process(pid: int) -> tuple[str, int, str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").split(b"\0")
    command = b" ".join(words).decode("utf-8", "replace") or f"[{fields['Name']}]"
    return (
        state.user_name(int(fields["Uid"].split()[0])),
        pid,
        fields["PPid"],
        "".join(c if c.isprintable() else "?" for c in command),
    )


def _table(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
