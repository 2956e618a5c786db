"""The service's end and its successor: what runs, runs on, and is taken over."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from dosirak.engine import start
from dosirak.engine.settings import Settings
from support.engines import Engine, alive, new_settings, wait_for


@pytest.fixture
def own() -> Iterator[Engine]:
    """A running engine of this test's own, with the small image."""
    engine = Engine(new_settings("l"))
    engine.start().import_busybox()
    yield engine
    engine.stop()


def bridges() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir() if (entry / "bridge").exists()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_that_ends_leaves_containers_to_the_next_one(own: Engine, number: signal.Signals) -> None:
    own.docker("run", "-d", "--name", "survivor", "-p", "127.0.0.1::80", "busybox",
               "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")  # fmt: skip
    pid = int(own.docker("inspect", "-f", "{{.State.Pid}}", "survivor").stdout)
    port = own.docker("port", "survivor", "80").stdout
    own.close_client()
    own.kill(number)
    assert alive(pid)
    own.start()
    line = own.docker(
        "inspect", "-f", "{{.State.Pid}} {{.State.Running}} {{.NetworkSettings.IPAddress}}", "survivor"
    ).stdout
    assert line.split()[:2] == [str(pid), "true"]
    assert own.docker("port", "survivor", "80").stdout == port
    assert own.docker("exec", "survivor", "echo", "inside").stdout == "inside\n"
    # No line of the log is missing, and new ones come in.
    lines = own.docker("logs", "survivor").stdout.split()
    assert lines == [str(number) for number in range(len(lines))]
    follower = own.docker_popen("logs", "-f", "--tail", "0", "survivor")
    assert follower.stdout is not None
    assert int(follower.stdout.readline()) >= len(lines)
    follower.terminate()
    follower.communicate(timeout=10)
    own.docker("stop", "-t", "0", "survivor")
    assert own.docker("inspect", "-f", "{{.State.ExitCode}}", "survivor").stdout.strip() == "137"
    assert not alive(pid)


def test_what_ended_without_a_service_is_known_to_the_next_one(own: Engine) -> None:
    own.docker("run", "-d", "--name", "brief", "busybox", "sh", "-c", "sleep 0.5; exit 33")
    own.docker("run", "-d", "--rm", "--name", "removed", "busybox", "sleep", "0.5")
    own.close_client()
    own.kill(signal.SIGKILL)
    time.sleep(1)
    own.start()
    shown = own.docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "brief").stdout
    assert shown.strip() == "exited 33"
    wait_for(lambda: own.docker("ps", "-aq", "--filter", "name=removed").stdout == "", 5)


def test_an_idle_service_stays_while_a_container_runs(own: Engine) -> None:
    own.close_client()
    own.kill(signal.SIGTERM)
    idle = Engine(Settings(own.settings.data, own.settings.run, idle_timeout=0.4))
    idle.start()
    pid = idle.pid
    idle.docker("run", "-d", "--name", "runner", "busybox", "sleep", "1.5")
    time.sleep(1.2)
    assert alive(pid)
    wait_for(lambda: not alive(pid), 10, "the service to end after its last container")


def test_nothing_of_the_network_is_left_when_the_last_service_ends(own: Engine) -> None:
    own.docker("run", "--rm", "-p", "127.0.0.1::80", "busybox", "true")
    name = json.loads(own.docker("network", "inspect", "bridge").stdout)[0]["Options"]["com.docker.network.bridge.name"]
    assert name in bridges()
    own.close_client()
    own.kill(signal.SIGTERM)
    assert name not in bridges()


def test_a_polite_end_answers_what_was_asked_and_ends_what_only_watches(own: Engine) -> None:
    watcher = own.docker_popen("events")
    own.docker("run", "-d", "--name", "looped", "busybox", "sleep", "100")
    follower = own.docker_popen("logs", "-f", "looped")
    stopper = own.docker_popen("stop", "-t", "1", "looped")
    time.sleep(0.3)
    own.close_client()
    began = time.monotonic()
    own.kill(signal.SIGTERM)
    assert time.monotonic() - began < 8
    assert stopper.communicate(timeout=10)[0].strip() == "looped"
    for process in (watcher, follower):
        process.communicate(timeout=10)
    own.start()
    assert own.docker("inspect", "-f", "{{.State.Running}}", "looped").stdout.strip() == "false"


def test_a_connection_that_says_nothing_keeps_nobody_from_leaving(own: Engine) -> None:
    own.close_client()
    own.kill(signal.SIGTERM)
    start.ensure(Settings(own.settings.data, own.settings.run, idle_timeout=0.3))
    pid = own.pid
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(own.socket))
        wait_for(lambda: not alive(pid), 10, "the idle service to end")


def test_a_stream_outlives_the_service_that_opened_it(own: Engine) -> None:
    """An attached client's connection belongs to the container's monitor."""
    client = docker.DockerClient(base_url=own.docker_host)
    container = client.containers.create("busybox", "cat", name="echo", stdin_open=True, tty=True)
    response = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    stream: socket.socket = response._sock
    container.start()
    stream.sendall(b"one\n")
    assert _read_until(stream, b"one\r\none\r\n")
    own.close_client()
    own.kill(signal.SIGKILL)
    stream.sendall(b"two\n")
    assert _read_until(stream, b"two\r\ntwo\r\n")
    own.start()
    stream.sendall(b"\x04")
    wait_for(lambda: own.docker("inspect", "-f", "{{.State.Running}}", "echo").stdout.strip() == "false", 5)
    response.close()
    client.close()


def _read_until(stream: socket.socket, wanted: bytes) -> bool:
    stream.settimeout(10)
    seen = b""
    while not seen.endswith(wanted):
        data = stream.recv(4096)
        if not data:
            return False
        seen += data
    return True
