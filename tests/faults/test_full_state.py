"""A disk that is full to the last block under a working engine: what is refused is said, what happens is remembered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import invariants
from support.api import Answer, Api
from support.engines import BUSYBOX, Engine, alive, wait_for

from .conftest import container_pid

FULL = "no space left on device"


@pytest.fixture
def small(small: Engine) -> Iterator[Engine]:
    """These tests kill the service: the end wants one that runs."""
    yield small
    small.start()


def fill(engine: Engine) -> Path:
    """Take every block there is."""
    filler = engine.settings.data / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while file.write(b"\1" * size):
                    pass
            except OSError:
                continue
    assert os.statvfs(engine.settings.data).f_bfree == 0
    return filler


def fair(answer: Answer, *fine: int) -> bool:
    assert answer.status in fine or (FULL in answer.text.lower() and "\n" not in answer.text), answer
    return answer.status in fine


def script(text: str) -> dict:
    return {"Image": BUSYBOX, "Cmd": ["sh", "-c", text], "HostConfig": {"NetworkMode": "none"}}


def test_ends_on_a_full_disk_are_remembered_whether_a_service_saw_them_or_not(small: Engine) -> None:
    engine, api = small, Api(small.socket)
    for name, code in (("seen", 3), ("unseen", 4)):
        api.need(
            "POST", "/containers/create", script(f"while [ ! -e /go ]; do sleep 0.05; done; exit {code}"), name=name
        )
        api.need("POST", f"/containers/{name}/start")
    pids = {name: container_pid(engine, name) for name in ("seen", "unseen")}
    ids = {name: api.get(f"/containers/{name}/json").body["Id"] for name in pids}
    fill(engine)
    go(pids["seen"])
    assert api.need("POST", "/containers/seen/wait")["StatusCode"] == 3
    api.close()
    engine.close_client()
    engine.kill()
    fill(engine)
    go(pids["unseen"])
    wait_for(lambda: not alive(pids["unseen"]), 10, "its end")
    engine.start()
    states = {name: api.get(f"/containers/{name}/json").body["State"] for name in ids}
    assert {name: state["ExitCode"] for name, state in states.items()} == {"seen": 3, "unseen": 4}
    for name in ids:  # what gives space back works without any
        api.need("DELETE", f"/containers/{name}")
    (engine.settings.data / "filler").unlink()
    api.need("POST", "/containers/create", script("exit 9"), name="again")
    api.need("POST", "/containers/again/start")
    invariants.check(engine, api, ids.values())
    api.close()


def go(pid: int) -> None:
    """Tell a container to end: an empty file takes no block of a tmpfs."""
    Path(f"/proc/{pid}/root/go").touch()


def test_calls_on_a_full_disk_are_done_or_refused_and_never_half(small: Engine) -> None:
    engine, api = small, Api(small.socket)
    for name in ("runs", "idle", "third"):
        api.need("POST", "/containers/create", script("sleep 600"), name=name)
    api.need("POST", "/containers/runs/start")
    filler = fill(engine)
    for number in range(12):
        made = api.post("/containers/create", script("sleep 600"), name=f"new{number}")
        if fair(made, 201):
            fair(api.post(f"/containers/new{number}/start"), 204)
    fair(api.post("/containers/idle/start"), 204)
    fair(api.post("/containers/idle/rename", name="other"), 204)
    assert api.post("/containers/runs/kill").status == 204
    fair(api.post("/volumes/create", {"Name": "volume"}), 201)
    known = {row["Id"]: row["State"] for row in invariants.listed(api)}
    engine.close_client()
    api.close()
    engine.kill()
    engine.start()
    before = {row["Id"]: row["State"] for row in invariants.listed(api)}
    assert before == known
    for container_id in before:
        api.need("DELETE", f"/containers/{container_id}", force="1")
    filler.unlink()
    api.need("POST", "/containers/create", script("exit 9"), name="again")
    api.need("POST", "/containers/again/start")
    assert api.need("POST", "/containers/again/wait")["StatusCode"] == 9
    invariants.check(engine, api, before)
    api.close()
