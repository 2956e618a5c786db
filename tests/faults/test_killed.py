"""SIGKILL, at every process of ours, while containers run."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

from support.engines import Engine, alive, wait_for

from .conftest import container_pid, launcher, monitor, returns_to, settled

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done"


def lines(engine: Engine, name: str) -> list[str]:
    return engine.docker("logs", name).stdout.splitlines()


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(1, count + 1)]


def test_killed_service_leaves_containers_running_and_the_next_takes_them_over(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "counter", image, "sh", "-c", COUNT)
    pid, service = container_pid(engine, "counter"), engine.pid
    wait_for(lambda: len(lines(engine, "counter")) > 3)

    engine.kill(signal.SIGKILL)
    time.sleep(0.3)
    assert alive(pid)

    engine.start()
    assert engine.pid != service
    assert container_pid(engine, "counter") == pid
    assert engine.docker("ps", "--format", "{{.Names}} {{.State}}").stdout == "counter running\n"
    seen = len(lines(engine, "counter"))
    wait_for(lambda: len(lines(engine, "counter")) > seen + 3)
    said = lines(engine, "counter")
    assert said == numbered(len(said))  # nothing lost, nothing twice
    assert engine.docker("exec", "counter", "echo", "still here").stdout == "still here\n"

    engine.docker("stop", "-t", "1", "counter")
    assert not alive(pid)
    assert engine.client.api.inspect_container("counter")["State"]["ExitCode"] == 137


def test_an_end_that_no_service_saw_is_on_record_all_the_same(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "brief", image, "sh", "-c", "echo before; sleep 1; echo after; exit 7")
    pid = container_pid(engine, "brief")
    engine.kill(signal.SIGKILL)
    wait_for(lambda: not alive(pid), 10, "the container to end")
    engine.start()
    state = engine.client.api.inspect_container("brief")["State"]
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 7, False)
    assert lines(engine, "brief") == ["before", "after"]
    assert engine.docker("wait", "brief").stdout == "7\n"


def test_a_container_that_should_vanish_at_its_end_does_so_under_the_next_service(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--rm", "--name", "passing", image, "sleep", "1")
    pid = container_pid(engine, "passing")
    engine.kill(signal.SIGKILL)
    wait_for(lambda: not alive(pid), 10, "the container to end")
    engine.start()
    wait_for(lambda: engine.docker("ps", "-aq").stdout == "", 5, "the container to be removed")


def test_the_restart_policy_needs_no_service(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--restart", "always", "--name", "phoenix", image, "sleep", "600")
    first = container_pid(engine, "phoenix")
    supervisor = monitor(engine, "phoenix")
    engine.kill(signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    wait_for(lambda: not alive(first) and children.read_text().split(), 10, "the monitor to restart it")
    engine.start()
    assert container_pid(engine, "phoenix") not in (0, first)
    assert engine.client.api.inspect_container("phoenix")["RestartCount"] == 1


def test_killed_launcher_leaves_containers_running_and_is_replaced(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "before", image, "sh", "-c", COUNT)
    pid, killed = container_pid(engine, "before"), launcher(engine)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: not alive(killed))
    assert engine.docker("run", "--rm", image, "echo", "a new launcher").stdout == "a new launcher\n"
    assert launcher(engine) != killed
    assert alive(pid)
    assert container_pid(engine, "before") == pid
    said = lines(engine, "before")
    assert said == numbered(len(said))


def test_service_and_launcher_killed_together_leave_containers_running(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    for name in ("one", "two", "three"):
        engine.docker("run", "-d", "--name", name, image, "sleep", "600")
    pids = {name: container_pid(engine, name) for name in ("one", "two", "three")}
    os.kill(launcher(engine), signal.SIGKILL)
    engine.kill(signal.SIGKILL)
    assert all(alive(pid) for pid in pids.values())
    engine.start()
    assert {name: container_pid(engine, name) for name in pids} == pids
    engine.docker("kill", *pids)
    assert not any(alive(pid) for pid in pids.values())


def test_killed_monitor_takes_its_container_with_it_and_that_is_said(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "--name", "orphan", image, "sleep", "600")
    engine.docker("run", "-d", "--name", "other", image, "sleep", "600")
    pid = container_pid(engine, "orphan")
    os.kill(monitor(engine, "orphan"), signal.SIGKILL)
    wait_for(lambda: not alive(pid), 5, "the container to end with its monitor")
    wait_for(lambda: not engine.client.api.inspect_container("orphan")["State"]["Running"])
    state = engine.client.api.inspect_container("orphan")["State"]
    assert state["ExitCode"] == 137
    assert "monitor" in state["Error"]
    assert alive(container_pid(engine, "other"))
    engine.docker("start", "orphan")
    assert alive(container_pid(engine, "orphan"))


def test_a_service_killed_again_and_again_loses_nothing(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "-d", "-p", "80", "--name", "steady", image, "sh", "-c", COUNT)
    before = engine.client.api.inspect_container("steady")
    for _ in range(4):
        engine.kill(signal.SIGKILL)
        engine.start()
    after = engine.client.api.inspect_container("steady")
    assert after["State"]["Pid"] == before["State"]["Pid"]
    assert after["NetworkSettings"]["Ports"] == before["NetworkSettings"]["Ports"]
    assert after["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] != ""
    said = lines(engine, "steady")
    assert said == numbered(len(said))


def test_published_ports_still_lead_inside_after_the_service_was_killed(fresh_engine: Engine) -> None:
    from urllib.request import urlopen

    engine, image = fresh_engine, fresh_engine.import_busybox()
    serve = "mkdir /w; echo hello > /w/index.html; exec httpd -f -p 80 -h /w"
    # Outside of the range that engines choose from: while no service holds the port, one beside ours might take it.
    port = random.randint(20_000, 30_000)
    engine.docker("run", "-d", "--name", "web", "-p", f"{port}:80", image, "sh", "-c", serve)

    def page() -> bytes:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.read()

    wait_for(lambda: _quietly(page), 5, "the web server")
    engine.kill(signal.SIGKILL)
    engine.start()
    assert page() == b"hello\n"


def test_what_a_killed_service_was_making_is_swept_by_the_next(fresh_engine: Engine) -> None:
    engine, image = fresh_engine, fresh_engine.import_busybox()
    engine.docker("run", "--rm", image, "true")
    before = settled(engine)
    build = engine.docker_popen("build", "--no-cache", "-", stdin=-1)
    build.stdin.write(f"FROM {image}\nRUN echo started; sleep 600\n")
    build.stdin.close()
    wait_for(lambda: "started" in build.stdout.readline(), 20, "the build step to run")
    engine.kill(signal.SIGKILL)
    build.wait(10)
    build.stdout.close()
    build.stderr.close()
    engine.start()
    returns_to(engine, before, "the half-made build to be swept")
    running = json.dumps([row["Command"] for row in engine.client.api.containers(all=True)])
    assert "sleep" not in running


def _quietly(ask: object) -> object:
    try:
        return ask()
    except OSError:
        return None
