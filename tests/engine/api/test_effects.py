"""What a flag does to a running container, as the docker CLI shows it: flags that other tests only read and write."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.engines import wait_for

Docker = Callable[..., Any]
Ask = Callable[..., Any]
DEAF = ("sh", "-c", "trap '' TERM; touch /deaf; while :; do usleep 20000; done")


def deaf(docker: Docker, *flags: str) -> float:
    """Seconds that a stop takes of a container that does not listen."""
    docker("run", "-d", "--name", "deaf", *flags, "busybox", *DEAF)
    wait_for(lambda: docker("exec", "deaf", "test", "-e", "/deaf", check=False).returncode == 0)
    begun = time.monotonic()
    docker("stop", "deaf")
    took = time.monotonic() - begun
    assert docker("inspect", "-f", "{{.State.ExitCode}}", "deaf").stdout == "137\n"
    return took


def test_stop_timeout_is_how_long_a_stop_waits(docker: Docker, busybox: str) -> None:
    took = deaf(docker, "--stop-timeout", "2")
    assert took >= 1.9
    docker("rm", "deaf")
    assert deaf(docker, "--stop-timeout", "0") < took


def test_publish_all_opens_what_the_image_and_the_client_expose(docker: Docker, busybox: str) -> None:
    script = "while :; do echo hello | nc -l -p 8000; done"
    docker("run", "-d", "--name", "open", "-P", "--expose", "8000", "--expose", "9000/udp", busybox, "sh", "-c", script)
    lines = dict(line.split(" -> ") for line in docker("port", "open").stdout.splitlines() if "[::]" not in line)
    assert lines.keys() == {"8000/tcp", "9000/udp"}
    port = int(lines["8000/tcp"].rpartition(":")[2])

    def said() -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
                return stream.recv(10)
        except OSError:
            return b""

    wait_for(lambda: said() == b"hello\n")


def test_health_start_interval_is_the_pace_until_the_first_success(docker: Docker, busybox: str) -> None:
    docker(
        "run", "-d", "--name", "slow", "--health-cmd", "date >> /asked; test -e /ready", "--health-interval", "1h",
        "--health-start-period", "1h", "--health-start-interval", "100ms", busybox, "sleep", "1000",
    )  # fmt: skip

    def health() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State.Health}}", "slow").stdout)
        return found

    wait_for(lambda: len(health()["Log"]) >= 3, 20)
    assert (health()["Status"], health()["FailingStreak"]) == ("starting", 0)
    docker("exec", "slow", "touch", "/ready")
    wait_for(lambda: health()["Status"] == "healthy", 20)
    asked = docker("exec", "slow", "wc", "-l", "/asked").stdout
    time.sleep(0.5)
    assert docker("exec", "slow", "wc", "-l", "/asked").stdout == asked


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "containers/create", {}, 400, "config cannot be empty in order to create a container"),
        ("POST", "containers/create", {"HostConfig": {}}, 400, "config cannot be empty in order to create a container"),
        ("POST", "containers/x/resize?h=-100&w=1", None, 400, 'invalid resize height "-100": value out of range'),
        ("POST", "containers/x/resize?h=1&w=4294967296", None, 400, 'invalid resize width "4294967296": value out'),
        ("POST", "containers/x/resize?h=1&w=", None, 400, 'invalid resize width "": invalid syntax'),
        ("POST", "containers/x/start?checkpoint=../out", None, 400, 'invalid checkpoint ID "../out"'),
        ("POST", "containers/x/start?checkpoint=one", None, 501, "docker start --checkpoint is not supported"),
        ("POST", "containers/create", {"Image": "busybox", "HostConfig": {"VolumesFrom": ["nobody"]}}, 400, "No such"),
    ],
)
def test_what_is_refused(ask: Ask, busybox: str, method: str, path: str, body: Any, status: int, words: str) -> None:
    answer = ask(method, f"/v1.51/{path}", body)
    assert answer.status == status
    assert words in answer.message


def test_a_user_that_is_not_there_is_refused_when_the_exec_is_created(ask: Ask, docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "1000")
    docker("exec", "box", "sh", "-c", "echo late:x:7:7::/: >> /etc/passwd")
    for user, status, words in (
        ("late", 201, ""),
        ("12345:678", 201, ""),
        ("nobody-knows", 400, "unable to find user nobody-knows: no matching entries in passwd file"),
        ("1:nobody-knows", 400, "unable to find group nobody-knows: no matching entries in group file"),
    ):
        answer = ask("POST", "/v1.51/containers/box/exec", {"Cmd": ["true"], "User": user})
        assert (answer.status, answer.json.get("message", "")) == (status, words)


def test_joining_a_container_that_is_down_is_an_error_of_the_start(docker: Docker, ask: Ask, busybox: str) -> None:
    down = docker("create", "--name", "down", busybox).stdout.strip()
    for kind in ("pid", "ipc"):
        docker("create", "--name", kind, f"--{kind}", "container:down", busybox)
        answer = ask("POST", f"/v1.51/containers/{kind}/start")
        assert answer.status == 500
        assert f"failed to join {kind.upper()} namespace: container {down} is not running" in answer.message


def test_an_image_that_is_mounted_is_in_use(docker: Docker, busybox: str, client: Any) -> None:
    client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo x > /own\n"), tag="mounted")
    mount = "type=image,src=mounted,dst=/image"
    container_id = docker("run", "-d", "--mount", mount, busybox, "sleep", "1000").stdout.strip()
    refused = docker("rmi", "mounted", check=False)
    assert refused.returncode == 1
    assert f"container {container_id[:12]} is using its referenced image" in refused.stderr
    docker("rm", "-f", container_id)
    docker("rmi", "mounted")
