"""What must hold of an engine's containers at any quiet moment, whatever was done to it: by the API's word, by the
database, by the control groups, by the processes, by the network's leases, and by the folders on disk.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from support import host
from support.api import Api
from support.engines import Engine, alive
from support.patience import patient

PATIENCE = patient(10.0)
"""Seconds that background clean-up may take on a busy machine."""


def check(engine: Engine, api: Api, removed: Iterable[str] = ()) -> dict[str, Any]:
    """Wait until everything agrees, and fail with what does not. Returns each container's inspect, by id.

    Parameters: `removed`: ids of containers that must not have left anything.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {row["Id"]: api.get(f"/containers/{row['Id']}/json").body for row in listed(api)}
        wrong = list(_wrong(engine, found, set(removed)))
        if not wrong:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("\n".join(wrong))
        time.sleep(0.02)


def listed(api: Api) -> list[dict[str, Any]]:
    """`ps -a`."""
    rows: list[dict[str, Any]] = api.need("GET", "/containers/json", all="1")
    return rows


def _wrong(engine: Engine, found: dict[str, Any], removed: set[str]) -> Iterator[str]:
    for container_id, inspect in found.items():
        yield from (f"{container_id[:12]} {text}: {inspect.get('State')}" for text in wrong_state(inspect))
    names = [inspect["Name"] for inspect in found.values() if "Name" in inspect]
    if len(set(names)) != len(names):
        yield f"a name twice: {sorted(names)}"
    yield from _wrong_records(engine, found)
    folders = set(os.listdir(engine.settings.data / "containers"))
    if folders != found.keys():
        yield f"folders and containers differ: {sorted(folders ^ found.keys())}"
    for container_id in removed - found.keys():
        if inside := cgroups(container_id):
            yield f"{container_id[:12]} is removed and has cgroups: {inside}"
    mounted = [line for line in host.mounts() if str(engine.settings.data) in line and "/containers/" in line]
    yield from (f"left mounted: {line}" for line in mounted if not any(key in line for key in found))


def wrong_flags(inspect: dict[str, Any]) -> Iterator[str]:
    """What contradicts itself in one container's inspect, at any moment."""
    state = inspect.get("State")
    if state is None:
        yield f"no State in {inspect}"
        return
    running = state["Running"]
    if state["Status"] != _status(state):
        yield "Status does not say what the flags say"
    if (state["Paused"] or state["Restarting"]) and not running:
        yield "paused or restarting, and not running"
    if bool(state["Pid"]) != (running and not state["Restarting"]):
        yield "a pid and not running, or running without one"
    if running and state["ExitCode"] and not state["Restarting"]:
        yield "running, with an exit code"


def wrong_state(inspect: dict[str, Any]) -> Iterator[str]:
    """As `wrong_flags`, and what contradicts the kernel, at a quiet moment."""
    yield from wrong_flags(inspect)
    if "State" not in inspect:
        return
    state = inspect["State"]
    running, pid = state["Running"], state["Pid"]
    if running and not state["Restarting"]:
        if not alive(pid):
            yield "running, its process is not"
        elif f"dosirak/{inspect['Id']}" not in Path(f"/proc/{pid}/cgroup").read_text():
            yield f"its pid {pid} is another's"
    if not running and cgroups(inspect["Id"]):
        yield f"not running, its cgroups are there: {cgroups(inspect['Id'])}"


def _status(state: dict[str, Any]) -> str:
    if state["Running"]:
        return "paused" if state["Paused"] else "restarting" if state["Restarting"] else "running"
    if state.get("Dead"):
        return "dead"
    if state["Status"] == "removing":
        return "removing"
    return "created" if state["StartedAt"].startswith("0001-") else "exited"


def _wrong_records(engine: Engine, found: dict[str, Any]) -> Iterator[str]:
    with closing(sqlite3.connect(f"file:{engine.settings.data}/state.db?mode=ro", uri=True, timeout=5)) as db:
        rows = dict(db.execute("SELECT id, name FROM containers"))
        endpoints = {container for (container,) in db.execute("SELECT container FROM endpoints")}
        leases = [owner for (owner,) in db.execute("SELECT owner FROM leases") if owner != "gateway"]
    names = {key: inspect["Name"].removeprefix("/") for key, inspect in found.items() if "Name" in inspect}
    if rows != names:
        yield f"records and containers differ: {rows} {names}"
    connected = {
        key
        for key, inspect in found.items()
        if inspect.get("State", {}).get("Running") and not inspect["HostConfig"]["NetworkMode"].startswith("container:")
    }
    if endpoints != connected:
        yield f"endpoints and running containers differ: {endpoints} {connected}"
    if stray := [owner for owner in leases if owner not in connected]:
        yield f"addresses leased to none that runs: {stray}"
    if len(set(leases)) != len(leases):
        yield f"a container with two addresses: {leases}"


def cgroups(container_id: str) -> list[str]:
    """The control groups of a container, in any hierarchy."""
    tops = [host.CGROUPS, *(entry for entry in host.CGROUPS.iterdir() if entry.is_dir())]
    return [str(path) for top in tops if (path := top / "dosirak" / container_id).is_dir()]


def monitors(engine: Engine) -> dict[int, str]:
    """The monitors of an engine's containers and execs: processes that hold a container's folder open, with its id."""
    folder = f"{engine.settings.data}/containers/"
    service = engine.pid
    found = {}
    for pid in _pids():
        for link in _open_files(pid) if pid != service else ():
            if link.startswith(folder):
                found[pid] = link.removeprefix(folder).partition("/")[0]
                break
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _open_files(pid: int) -> Iterator[str]:
    try:
        for fd in os.scandir(f"/proc/{pid}/fd"):
            yield os.readlink(fd.path)
    except OSError:
        return
