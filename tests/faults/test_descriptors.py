"""EMFILE: a service without descriptors answers with one clear line, keeps nothing half-made, and has lost nothing."""

from __future__ import annotations

import os
import resource

from support import invariants
from support.api import Answer, Api
from support.engines import BUSYBOX, Engine

WORDS = "too many open files"
SLEEPER = {"Image": BUSYBOX, "Cmd": ["sleep", "600"]}


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Scarce:
    """Inside, the service may have only so many more descriptors than it has."""

    def __init__(self, pid: int, more: int) -> None:
        self._pid, self._more = pid, more

    def __enter__(self) -> None:
        highest = max(int(name) for name in os.listdir(f"/proc/{self._pid}/fd"))
        self._before = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (highest + 1 + self._more, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._before)


def fair(answer: Answer, *fine: int) -> bool:
    """Whether it worked; when it did not, it must be said why, in one line."""
    if answer.status in fine:
        return True
    assert answer.status >= 400, answer
    assert WORDS in answer.text.lower() or "unable to open database file" in answer.text, answer
    assert "internal error" not in answer.text
    assert "\n" not in answer.text
    return False


def test_calls_without_descriptors_fail_clearly_and_all_is_well_afterwards(fresh_engine: Engine) -> None:
    engine = fresh_engine
    engine.import_busybox()
    engine.close_client()
    api = Api(engine.socket)
    steady = api.need("POST", "/containers/create", SLEEPER, name="steady")["Id"]
    api.need("POST", "/containers/steady/start")
    ended = api.need("POST", "/containers/create", {**SLEEPER, "Cmd": ["true"]}, name="ended")["Id"]
    api.need("POST", "/containers/ended/start")
    api.need("POST", "/containers/ended/wait")
    before = open_files(engine.pid)
    worked = 0
    for more in (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24):
        with Scarce(engine.pid, more):
            assert fair(api.get("/containers/json", all="1"), 200)
            fair(api.get("/containers/steady/json"), 200)
            fair(api.get("/containers/steady/top"), 200)
            fair(api.get("/containers/steady/logs", stdout="1"), 200)
            fair(api.post(f"/containers/{ended}/rename", name=f"ended{more}"), 204)
            made = api.post("/containers/create", SLEEPER, name=f"new{more}")
            if fair(made, 201) and fair(api.post(f"/containers/new{more}/start"), 204):
                worked += 1
                fair(api.post(f"/containers/new{more}/kill"), 204)
            fair(api.post("/containers/steady/exec", {"Cmd": ["true"]}), 201)
            if made.status == 201:
                fair(api.delete(f"/containers/new{more}", force="1"), 204)
        found = invariants.check(engine, api)
        assert {steady, ended} <= found.keys()
        for container_id in found.keys() - {steady, ended}:
            api.need("DELETE", f"/containers/{container_id}", force="1")
    assert worked
    assert api.get("/containers/steady/json").body["State"]["Running"]
    api.need("POST", "/containers/steady/kill")
    api.need("POST", f"/containers/{ended}/start")
    assert api.need("POST", f"/containers/{ended}/wait")["StatusCode"] == 0
    invariants.check(engine, api)
    assert open_files(engine.pid) <= before + 2, os.popen(f"ls -l /proc/{engine.pid}/fd").read()
    assert "Traceback" not in engine.log
    api.close()


def test_a_container_started_without_room_for_its_descriptor_can_be_killed(fresh_engine: Engine) -> None:
    # The kernel drops the pidfd from the monitor's message when the service has as many descriptors as it may.
    engine = fresh_engine
    engine.import_busybox()
    engine.close_client()
    api = Api(engine.socket)
    killed = 0
    for more in range(4, 24):
        with Scarce(engine.pid, more):
            if api.post("/containers/create", SLEEPER, name="x1").status != 201:
                continue
            started = api.post("/containers/x1/start").status == 204
        if started:
            assert api.get("/containers/x1/json").body["State"]["Running"]
            assert api.post("/containers/x1/kill").status == 204
            assert not api.get("/containers/x1/json").body["State"]["Running"]
            killed += 1
        api.need("DELETE", "/containers/x1", force="1")
    assert killed
    invariants.check(engine, api)
    api.close()
