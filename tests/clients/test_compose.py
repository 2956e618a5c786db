"""docker-compose 1.29 as Debian has it: two services, a volume, and what people do with them in a day."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from support.engines import Engine, wait_for

Compose = Callable[..., "subprocess.CompletedProcess[str]"]

PROJECT = """
version: "2.4"
services:
  web:
    image: busybox
    command: sh -c "mkdir -p /www; echo $$MENU > /www/index.html; exec httpd -f -p 80 -h /www"
    environment: {MENU: bibimbap}
    volumes: ["data:/data"]
    ports: ["127.0.0.1::80"]
    stop_signal: KILL
  worker:
    image: busybox
    command: sh -c "trap 'exit 0' TERM; while :; do wget -qO- http://web/ >> /data/log; echo tick; sleep 0.1; done"
    volumes: ["data:/data"]
    labels: {role: ticker}
    restart: on-failure
    mem_limit: 64m
    depends_on: [web]
volumes: {data: {}}
"""


def _version_1() -> bool:
    program = shutil.which("docker-compose")
    if program is None:
        return False
    done = subprocess.run([program, "version", "--short"], capture_output=True, text=True)
    return done.stdout.startswith("1.")


@pytest.fixture
def compose(engine: Engine, busybox: str, tmp_path: Path) -> Iterator[Compose]:
    """`compose("up", "-d")` in a project's folder; the project is taken down afterwards."""
    if not _version_1():
        pytest.skip("docker-compose 1.29 is not installed (Debian 12: apt install docker-compose)")
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(PROJECT)
    environment = engine.environment({"COMPOSE_API_VERSION": "1.44", "COMPOSE_NO_COLOR": "1"})

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker-compose", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"docker-compose {arguments}:\n{done.stdout}\n{done.stderr}"
        return done

    yield run
    run("down", "-v", "-t", "0", check=False)


def test_a_day_of_two_services(compose: Compose, engine: Engine) -> None:
    compose("up", "-d")
    listed = compose("ps").stdout
    assert re.search(r"shop_web_1 .* Up +127\.0\.0\.1:\d+->80/tcp", listed)
    assert re.search(r"shop_worker_1 .* Up", listed)
    address = compose("port", "web", "80").stdout.strip()
    wait_for(lambda: _read(f"http://{address}/") == b"bibimbap\n", 10, "the web server")
    worker = engine.client.containers.get("shop_worker_1")
    wait_for(lambda: worker.exec_run("cat /data/log").output.startswith(b"bibimbap\n"), 10, "web, asked by its name")
    assert compose("logs", "--tail=2", "worker").stdout.count("tick") == 2
    assert compose("exec", "-T", "web", "sh", "-c", "exit 9", check=False).returncode == 9
    assert worker.labels["com.docker.compose.service"] == "worker"
    first = worker.attrs["State"]["StartedAt"]
    compose("restart", "-t", "5", "worker")
    worker.reload()
    assert (worker.attrs["State"]["Running"], worker.attrs["State"]["StartedAt"] != first) == (True, True)
    compose("up", "-d", "--scale", "worker=2")
    assert len(engine.client.containers.list(filters={"label": "role=ticker"})) == 2
    compose("stop")
    assert re.search(r"shop_worker_1 .* Exit 0", compose("ps", "-a").stdout)
    compose("down", "-v")
    assert engine.client.containers.list(all=True) == []
    assert engine.client.volumes.list() == []
    assert engine.client.networks.list(names=["shop_default"]) == []


def test_a_changed_service_is_made_anew_with_its_data(compose: Compose, engine: Engine, tmp_path: Path) -> None:
    compose("up", "-d", "web")
    before = engine.client.containers.get("shop_web_1")
    assert before.exec_run("sh -c 'echo kept > /data/kept'").exit_code == 0
    project = tmp_path / "shop" / "docker-compose.yml"
    project.write_text(project.read_text().replace("bibimbap", "naengmyeon"))
    compose("up", "-d", "web")
    after = engine.client.containers.get("shop_web_1")
    assert after.id != before.id
    assert after.exec_run("sh -c 'cat /data/kept; echo $MENU'").output == b"kept\nnaengmyeon\n"
    assert "up-to-date" in compose("up", "-d", "web").stderr


def _read(address: str) -> bytes:
    try:
        with urlopen(address, timeout=5) as answer:
            return answer.read()
    except OSError:
        return b""
