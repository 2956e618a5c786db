"""SIGSTOP: what hangs holds up nothing but itself, and goes on as if nothing had been when it is continued."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import invariants
from support.api import Api
from support.engines import BUSYBOX, Engine, alive, wait_for

from .conftest import container_pid, launcher, monitor

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is stopped inside, and goes on after."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 5, "the stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lines(engine: Engine, name: str) -> list[str]:
    return engine.docker("logs", name).stdout.splitlines()


def test_a_stopped_service_misses_nothing(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "counter", image, "sh", "-c", COUNT)
    engine.docker("run", "-d", "--name", "brief", image, "sh", "-c", "sleep 0.3; exit 7")
    engine.docker("run", "-d", "--rm", "--name", "fleeting", image, "sleep", "0.3")
    engine.docker("run", "-d", "--restart", "always", "--name", "phoenix", image, "sh", "-c", "sleep 0.1; exit 1")
    pid = container_pid(engine, "brief")
    with stopped(engine.pid):
        wait_for(lambda: not alive(pid), 10, "the end that the service does not see")
        time.sleep(0.5)
    assert engine.docker("wait", "brief").stdout == "7\n"
    wait_for(lambda: "fleeting" not in engine.docker("ps", "-a").stdout, 10, "the removal")
    said = lines(engine, "counter")
    assert said == [f"line {number + 1}" for number in range(len(said))]
    wait_for(lambda: engine.client.api.inspect_container("phoenix")["RestartCount"] > 2, 10, "the restarts to be told")
    engine.docker("rm", "-f", "counter", "brief", "phoenix")


def test_a_client_is_told_of_a_service_that_hangs(fresh_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dosirak.engine import start

    monkeypatch.setattr(start, "READY_TIMEOUT", 0.5)
    monkeypatch.setattr(start, "_ANSWER_TIMEOUT", 0.2)
    with stopped(fresh_engine.pid), pytest.raises(start.ServiceNotStartable) as told:
        start.ensure(fresh_engine.settings)
    assert f"(pid {fresh_engine.pid})" in str(told.value)
    assert "does not answer" in str(told.value)


def test_a_stopped_monitor_keeps_the_next_service_from_nothing(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "held", "-p", "80", image, "sh", "-c", "trap 'exit 5' TERM; " + COUNT)
    engine.docker("run", "-d", "--name", "free", image, "sleep", "600")
    pid = container_pid(engine, "held")
    with stopped(monitor(engine, "held")):
        for _ in range(2):
            engine.kill()
            begun = time.monotonic()
            engine.start()
            assert time.monotonic() - begun < 15
        assert container_pid(engine, "held") == pid
        assert engine.docker("exec", "held", "echo", "works").stdout == "works\n"
        assert engine.docker("exec", "free", "echo", "too").stdout == "too\n"
        seen = len(lines(engine, "held"))
        assert seen
        assert "its monitor does not answer" in engine.log
    wait_for(lambda: len(lines(engine, "held")) > seen, 10, "the log to go on")
    state = engine.client.api.inspect_container("held")["State"]
    assert (state["Status"], state["Pid"]) == ("running", pid)
    engine.docker("stop", "held")
    assert engine.client.api.inspect_container("held")["State"]["ExitCode"] == 5
    engine.docker("rm", "-f", "held", "free")


def test_an_end_under_a_stopped_monitor_is_known_when_it_goes_on(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "held", image, "sh", "-c", "sleep 0.5; exit 6")
    pid = container_pid(engine, "held")
    with stopped(monitor(engine, "held")):
        engine.kill()
        wait_for(lambda: not alive(pid), 10, "the program to end")
        engine.start()
        waiting = engine.docker_popen("wait", "held")
    assert waiting.communicate(timeout=20)[0] == "6\n"


def test_a_stopped_launcher_keeps_only_starts_waiting(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "there", image, "sleep", "600")
    api, done = Api(engine.socket), []

    def start(name: str) -> None:
        client = Api(engine.socket)
        body = {"Image": BUSYBOX, "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}
        client.need("POST", "/containers/create", body, name=name)
        done.append(client.post(f"/containers/{name}/start").status)
        client.close()

    with stopped(launcher(engine)):
        threads = [threading.Thread(target=start, args=(f"c{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert api.get("/containers/there/json").body["State"]["Running"]
        assert api.post("/containers/there/kill").status == 204
    for thread in threads:
        thread.join(20)
    assert done == [204] * 6
    invariants.check(engine, api)
    api.close()
