"""SIGKILL at random moments during a mixed load: of the service, the launcher, monitors, and several at once.

No container that the engine told of is lost, none is invented, logs are whole up to the last write, exit codes are
those of the programs, and everything is swept. `DOSIRAK_TESTS_LONG=1` takes 200 moments, `DOSIRAK_TESTS_SEED` runs the
same choices again (what the kernel makes of them differs).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from support import invariants, seeds
from support.api import Api
from support.engines import Engine, wait_for

from .conftest import children, returns_to, settled
from .load import Entry, Load

# Docker's exit code for a container of whose end there is no trace: here, monitor and service were killed together.
LOST = 255
MOMENTS = 200 if seeds.LONG else 20


class Killer:
    """Hurts an engine and brings its service back."""

    def __init__(self, engine: Engine, chance: random.Random) -> None:
        self._engine, self._chance = engine, chance
        self.hurt: set[str] = set()  # containers a monitor of whose (its own, or an exec's) was killed
        self.did: Counter[str] = Counter()

    def strike(self) -> None:
        """At one random moment."""
        time.sleep(self._chance.uniform(0, 0.25))
        what = self._chance.choices(("service", "launcher", "monitor", "service and launcher", "all"), (5, 3, 4, 2, 1))[
            0
        ]
        self.did[what] += 1
        if what in ("launcher", "service and launcher", "all"):
            self._kill_launcher()
        if what in ("monitor", "all"):
            self._kill_monitors(1 if what == "monitor" else 3)
        if what not in ("launcher", "monitor"):
            self._engine.kill(signal.SIGKILL)
            time.sleep(self._chance.choice((0, 0, 0.1, 0.5)))
            self._engine.start()

    def _kill_launcher(self) -> None:
        for pid in children(self._engine.pid):
            with contextlib.suppress(OSError):
                if b"launcher" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def _kill_monitors(self, number: int) -> None:
        found = sorted(invariants.monitors(self._engine).items())
        for pid, container_id in self._chance.sample(found, min(number, len(found))):
            self.hurt.add(container_id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(3600 if seeds.LONG else 180)
def test_whatever_is_killed_at_whatever_moment_nothing_is_lost(fresh_engine: Engine) -> None:
    engine, number = fresh_engine, seeds.seed()
    engine.import_busybox()
    engine.docker("run", "--rm", engine.import_busybox(), "true")
    before, bridge = settled(engine), bridge_of(engine)
    killer = Killer(engine, random.Random(number))
    with Load(engine, number) as load:
        for _ in range(MOMENTS):
            killer.strike()
    print(f"struck {dict(killer.did)}; {len(load.ledger.entries)} containers, {len(killer.hurt)} hurt")
    assert load.ledger.surprises == []

    api = Api(engine.start().socket)
    entries = load.ledger.entries
    found = invariants.check(engine, api, {entry.id for entry in entries.values() if entry.removed})
    by_name = {inspect["Name"].removeprefix("/"): inspect for inspect in found.values()}
    assert by_name.keys() <= entries.keys(), "containers that nobody asked for"
    for entry in entries.values():
        judge(api, entry, by_name.get(entry.name), entry.id in killer.hurt)

    for container_id in found:
        api.need("DELETE", f"/containers/{container_id}", force="1")
    invariants.check(engine, api, found)
    wait_for(lambda: not invariants.monitors(engine), 10, "the monitors to end")
    returns_to(engine, before, "the data root to be as before")
    api.close()
    engine.close_client()
    engine.kill(signal.SIGTERM)
    assert not Path(f"/sys/class/net/{bridge}").exists()


def bridge_of(engine: Engine) -> str:
    return engine.client.networks.get("bridge").attrs["Options"]["com.docker.network.bridge.name"]


def judge(api: Api, entry: Entry, inspect: dict | None, hurt: bool) -> None:
    """Hold what is there against what the engine has said."""
    if inspect is None:
        assert not entry.created or entry.removal, f"lost: {entry}"
        return
    assert not entry.removed, f"removed, and back: {entry}"
    state = inspect["State"]
    what = f"{entry} {state}"
    assert not entry.id or inspect["Id"] == entry.id, what
    assert not entry.started or state["Status"] != "created", f"a start forgotten: {what}"
    said = log(api, inspect["Id"])
    if entry.code is None:
        runs = [int(line.split()[1]) for line in said]
        assert all(b in (a + 1, 1) for a, b in pairwise(runs)), f"a hole: {what} {said[-5:]}"
        assert runs or hurt or not state["Running"] or not entry.started, f"no log: {what}"
        if state["Status"] == "created":
            return
        assert state["Running"] or hurt or entry.stopped, f"ended by itself: {what}"
        return
    if state["Status"] == "exited":
        codes = {entry.code} | ({137, LOST} if hurt else {137} if entry.stopped else set())
        assert state["ExitCode"] in codes, what
        assert hurt or state["ExitCode"] != entry.code or said == [entry.name], f"log: {said} {what}"


def log(api: Api, container_id: str) -> list[str]:
    body, said = api.get(f"/containers/{container_id}/logs", stdout="1").body or b"", b""
    while body:
        size = int.from_bytes(body[4:8], "big")
        said, body = said + body[8 : 8 + size], body[8 + size :]
    return said.decode().splitlines()
