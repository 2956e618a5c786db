"""A thousand containers, one after another: the service has then no more memory, descriptors, threads, rows or files.

In the suite a shorter row; `DOSIRAK_TESTS_LONG=1` takes the thousand.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support import invariants, seeds
from support.api import Api
from support.engines import BUSYBOX, Engine, wait_for

from .conftest import launcher, returns_to, settled

ROWS = 1000 if seeds.LONG else 60


def figures(engine: Engine) -> dict[str, int]:
    """What may grow: kilobytes, descriptors and threads of service and launcher; kilobytes and rows of the state."""
    found = {}
    for name, pid in (("service", engine.pid), ("launcher", launcher(engine))):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in status if ":" in line)
        found[f"{name} kB"] = int(fields["VmRSS"].split()[0])
        found[f"{name} threads"] = int(fields["Threads"])
        found[f"{name} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
    data = engine.settings.data
    found["state kB"] = sum((data / name).stat().st_size for name in ("state.db", "state.db-wal")) >> 10
    with closing(sqlite3.connect(f"file:{data}/state.db?mode=ro", uri=True)) as db:
        for table in ("containers", "endpoints", "leases", "volumes"):
            found[table] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def one_life(api: Api, number: int) -> None:
    """Create, start, look, exec now and then, remove: in one of several ways."""
    host = {"NetworkMode": "bridge" if number % 3 == 0 else "none", "AutoRemove": number % 7 == 3}
    command = ["sleep", "600"] if number % 2 else ["true"]
    body = {"Image": BUSYBOX, "Cmd": command, "HostConfig": host, "Volumes": {"/data": {}} if number % 5 == 0 else {}}
    container_id = api.need("POST", "/containers/create", body)["Id"]
    api.need("POST", f"/containers/{container_id}/start")
    if number % 2:
        if number % 10 == 1:
            exec_id = api.need("POST", f"/containers/{container_id}/exec", {"Cmd": ["true"]})["Id"]
            api.need("POST", f"/exec/{exec_id}/start", {"Detach": True})
        api.need("GET", f"/containers/{container_id}/json")
    answer = api.delete(f"/containers/{container_id}", force="1", v="1")
    assert answer.status in (204, 404, 409), answer


@pytest.mark.slow
@pytest.mark.timeout(600 if seeds.LONG else 120)
def test_a_row_of_containers_leaves_the_engine_as_it_was(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.import_busybox()
    engine.close_client()
    api = Api(engine.socket)
    for number in range(60):  # caches, pools and threads come into being
        one_life(api, number)
    invariants.check(engine, api)
    tree, before = settled(engine), figures(engine)
    for number in range(ROWS):
        one_life(api, number)
    invariants.check(engine, api)
    returns_to(engine, tree, "the data root to be as before")
    wait_for(lambda: not invariants.monitors(engine), 10, "the monitors to end")
    after = figures(engine)
    print(f"before {before}\nafter {ROWS}: {after}")
    grown = {name: after[name] - before[name] for name in after}
    assert grown["service kB"] < 2000 + ROWS, grown
    assert grown["launcher kB"] < 1000, grown
    assert grown["state kB"] <= 4200, grown  # the write-ahead log's own limit
    for name in set(grown) - {"service kB", "launcher kB", "state kB"}:
        assert grown[name] <= (4 if "descriptors" in name or "threads" in name else 0), (name, grown)
    api.close()
