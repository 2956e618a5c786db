"""What our commands ask the engine, against what the docker CLI asks: the same requests, field for field."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.cli import main
from support.recorder import Recorded, Recorder

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker CLI is not installed")

SAME = """
ps
ps -a
ps -n 5
ps -l
ps -s
ps --filter name=x --filter name=y --filter status=exited -aq
stop x
stop -t 5 -s KILL x
stop --time 3 x
restart -t 0 x
kill x
kill -s HUP x
kill --signal=9 x
rm x
rm -fv x
rename a b
pause x
unpause x
update -m 64m x
update --memory 64m --memory-swap -1 --memory-reservation 32m x
update --pids-limit 5 --restart on-failure:3 -c 5 --blkio-weight 20 --cpus 1.5 x
update --cpu-period 1000 --cpu-quota 2000 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit -1 x
wait x
pull busybox
pull -q busybox:1.36
pull registry.example.com:5000/a/b
pull busybox@sha256:{digest}
push -a localhost:5000/x
tag a b:c
tag a localhost:5000/x
images
images -a
images --filter dangling=true
images busy*
history x
logs x
logs -t --tail 5 --details x
logs --since 100 --until 200 x
top x
top x -ef
top x -o pid,comm
network ls
network ls --filter driver=bridge
network prune -f
network prune -f --filter until=24h --filter label=a
container prune -f
container prune --force --filter label!=x=y --filter until=10m
image prune -f
image prune -af --filter until=2030-01-02
volume create
volume create --label a=b --label c data
volume ls
volume ls -q --filter dangling=true --filter name=x
volume rm x
volume rm -f x
volume prune -f
volume prune -af --filter label=a
system prune -f
system prune -af --volumes --filter label=a
builder prune -f
builder prune -af --filter until=24h
builder prune -f --keep-storage 1GB
system df
events --until 100
events --since 100 --until 200 --filter type=container --filter event=die --filter event=start
exec x ls -l
exec -e A=1 --env B=2 -u me -w /tmp --privileged x env
exec -d x sleep 1
build -t a -t b:c {dir}
build --build-arg A=1 --target t --label a=b --no-cache --pull --network host {dir}
build -m 5m --memory-swap 10m --shm-size 1m -c 5 --cpu-period 7 --cpu-quota 8 --cpuset-cpus 0 --cpuset-mems 0 {dir}
build --ulimit nofile=1:2 --add-host a:1.2.3.4 --force-rm --platform linux/amd64 {dir}
build --cache-from a --cache-from b -f {dir}/other.Dockerfile {dir}
""".strip().splitlines()

SKIPPED = ("/_ping", "/version")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("b")
    (path / "Dockerfile").write_text("FROM x\n")
    (path / "other.Dockerfile").write_text("FROM y\n")
    return path


def told(recorded: Recorder, words: list[str]) -> list[Any]:
    """The requests that matter, comparable."""
    found = []
    for request in recorded.requests:
        looking = request.method == "GET" and request.path.endswith("/json") and "/containers/x/" in request.path
        if request.path in SKIPPED or looking or request.path.endswith(("/images/busybox/json", "/images/b:c/json")):
            continue
        found.append((request.method, _path(request), _query(request), _body(request)))
    return found[:1]  # what follows is each client's own way to find out how it went


def _path(request: Recorded) -> str:
    from urllib.parse import unquote

    return unquote(request.path).replace("/c0ffee", "/x")[:40] if "/logs" in request.path else unquote(request.path)


def _query(request: Recorded) -> dict[str, Any]:
    query: dict[str, Any] = {}
    for key, values in request.query.items():
        value = values[0] if len(values) == 1 else values
        if isinstance(value, str) and value.startswith(("{", "[")):
            value = json.loads(value)
        query[key] = value
    # The CLI writes Docker Hub's names in full; `rm=1` is the API's default.
    for key in ("fromImage", "repo"):
        if key in query:
            query[key] = query[key].removeprefix("docker.io/library/")
    query.pop("rm", None)
    if query.get("filters") == "":
        del query["filters"]
    return query


def _body(request: Recorded) -> Any:
    if "json" in request.headers.get("Content-Type", "") and request.body:
        body = request.json
        body.pop("Detach", None)  # means nothing at exec's create
        return body
    return None


@pytest.mark.parametrize("line", SAME)
def test_the_same_is_asked(
    line: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    words = shlex.split(line.format(dir=folder, digest="a" * 64))
    with Recorder(tmp_path / "s") as recorded:
        environment = {**os.environ, "DOCKER_HOST": recorded.host, "DOCKER_BUILDKIT": "0"}
        subprocess.run(["docker", *words], env=environment, capture_output=True)
        theirs = told(recorded, words)
    with Recorder(tmp_path / "t") as recorded:
        monkeypatch.setenv("DOCKER_HOST", recorded.host)
        try:
            main(words)
        except Exception:  # the recorder's answers are not an engine's
            pass
        ours = told(recorded, words)
    assert theirs
    assert ours == theirs
