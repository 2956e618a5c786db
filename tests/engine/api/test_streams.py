"""Streams through the API and the docker CLI: slow and vanished readers, log drivers, exec, events."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import rawhttp
from support.api import Api
from support.bundles import split
from support.engines import Engine, wait_for

Docker = Callable[..., "subprocess.CompletedProcess[str]"]
NUMBERS = b"".join(b"%d\n" % number for number in range(1, 300_001))
MILLION = b"".join(b"%d\n" % number for number in range(1, 1_000_001))


@pytest.fixture
def api(engine: Engine, busybox: str) -> Iterator[Api]:
    """A raw client."""
    made = Api(engine.socket)
    yield made
    made.close()


def head(stream: Any) -> bytes:
    """Read the answer's head, nothing of what follows."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += stream.recv(1)
    return data


def rest(stream: Any) -> bytes:
    """Read to the end."""
    data = b""
    while piece := stream.recv(1 << 18):
        data += piece
    return data


def running(api: Api, name: str) -> bool:
    return bool(api.need("GET", f"/containers/{name}/json")["State"]["Running"])


# Slow readers


def test_a_pager_that_is_left_open_holds_nothing_up_and_shows_everything(
    docker: Docker, engine: Engine, api: Api
) -> None:
    client = engine.docker_popen("run", "--name", "chatty", "busybox", "seq", "300000", text=False)
    wait_for(lambda: api.get("/containers/chatty/json").status == 200, 20)
    wait_for(lambda: api.get("/containers/chatty/json").body["State"]["Status"] == "exited", 20)
    out, err = client.communicate(timeout=60)
    assert (out, err, client.returncode) == (NUMBERS, b"", 0)


@pytest.mark.parametrize("client", ["docker", "dosirak"])
def test_a_pager_that_is_read_a_page_at_a_time(docker: Docker, engine: Engine, busybox: str, client: str) -> None:
    """`… run … | less` of a person who reads a page, does something else, and then goes to the end."""
    program = {"docker": "docker", "dosirak": str(Path(sys.executable).with_name("dosirak"))}[client]
    pause = 15 if os.environ.get("DOSIRAK_TESTS_LONG") else 2
    pager = f"(head -c 4096; sleep {pause}; cat) | cksum"
    expected = subprocess.run(["cksum"], input=MILLION, capture_output=True, check=True).stdout
    script = f"{program} run --rm --name paged {busybox} seq 1000000 | {pager}; exit ${{PIPESTATUS[0]}}"
    reading = subprocess.Popen(["bash", "-c", script], env=engine.environment(), stdout=subprocess.PIPE)
    out, _ = reading.communicate(timeout=60)
    assert (out, reading.returncode) == (expected, 0)
    wait_for(lambda: docker("ps", "-aq").stdout == "", 10, "the container to be gone")


def test_what_a_slow_reader_has_not_read_outlives_its_container(docker: Docker, api: Api) -> None:
    docker("create", "--name", "gone", "busybox", "seq", "300000")
    with api.hijacked("/containers/gone/attach?stream=1&stdout=1") as stream:
        head(stream)
        docker("start", "gone")
        docker("wait", "gone")
        docker("start", "gone")  # a second run is none of its business
        docker("wait", "gone")
        docker("rm", "gone")
        assert split(rest(stream))[0] == NUMBERS


def test_vanished_readers_cost_nothing(docker: Docker, engine: Engine, api: Api) -> None:
    docker("run", "-d", "--name", "busy", "busybox", "sh", "-c", "while :; do seq 1000; sleep 0.01; done")
    for _ in range(10):
        with api.hijacked("/containers/busy/attach?stream=1&stdout=1&stderr=1") as stream:
            head(stream)
            stream.recv(100)
        follower = engine.docker_popen("logs", "-f", "busy")
        follower.stdout.read(100)
        follower.kill()
        follower.communicate()
    before = len(docker("logs", "--tail", "5000", "busy").stdout)
    assert before > 1000 and running(api, "busy")
    docker("rm", "-f", "busy")


def test_without_a_log_the_reader_sets_the_pace(docker: Docker, api: Api) -> None:
    docker("create", "--name", "paced", "--log-driver", "none", "busybox", "seq", "300000")
    with api.hijacked("/containers/paced/attach?stream=1&stdout=1") as stream:
        head(stream)
        docker("start", "paced")
        time.sleep(0.5)
        assert running(api, "paced")
        assert split(rest(stream))[0] == NUMBERS
    docker("wait", "paced")


# Logs


def test_the_local_driver(docker: Docker, busybox: str) -> None:
    script = "echo one; echo two >&2; printf three"
    options = ("--log-driver", "local", "--log-opt", "labels=a", "-l", "a=b")
    docker("run", "--name", "local", *options, busybox, "sh", "-c", script)
    done = docker("logs", "local")
    assert (done.stdout, done.stderr) == ("one\nthree", "two\n")
    assert docker("logs", "--tail", "1", "local").stdout == "three"
    assert docker("logs", "--details", "local").stdout == "a=b one\na=b three"
    stamped = docker("logs", "-t", "local").stdout.splitlines()
    assert [line[30:] for line in stamped] == [" one", " three"] and stamped[0][:2] == "20"
    assert docker("logs", "--until", "10m", "local").stdout == ""
    assert docker("logs", "--since", "10m", "local").stdout == "one\nthree"
    assert docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}|", "local").stdout == "local |\n"


def test_no_log_no_reading(docker: Docker, busybox: str) -> None:
    docker("run", "--name", "silent", "--log-driver", "none", "busybox", "echo", "x")
    done = docker("logs", "silent", check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "Error response from daemon: configured logging driver does not support reading"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--log-opt", "max-size=ten"), "invalid size: 'ten'"),
        (("--log-opt", "nonsense=1"), "unknown log opt 'nonsense' for json-file log driver"),
        (("--log-driver", "syslog"), "logger: no log driver named 'syslog' is registered"),
    ],
)
def test_options_that_make_no_sense(docker: Docker, busybox: str, options: tuple[str, ...], message: str) -> None:
    done = docker("run", "--rm", *options, busybox, "true", check=False)
    assert done.returncode == 125
    assert message in done.stderr


def test_following_a_rotated_log_with_the_cli(docker: Docker, engine: Engine, busybox: str) -> None:
    options = ("--log-opt", "max-size=100k", "--log-opt", "max-file=3", "--log-opt", "compress=true")
    docker("run", "-d", "--name", "rolled", *options, busybox, "sh", "-c", "sleep 0.5; seq 100000")
    follower = engine.docker_popen("logs", "-f", "rolled", text=False)
    out, _ = follower.communicate(timeout=60)
    assert out == b"".join(b"%d\n" % number for number in range(1, 100_001))


# Exec


def test_where_an_exec_can_not_be(docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "100")
    ident = docker("inspect", "-f", "{{.Id}}", "box").stdout.strip()
    docker("pause", "box")
    done = docker("exec", "box", "true", check=False)
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "Error response from daemon: Container box is paused, unpause the container before exec",
    )
    docker("unpause", "box")
    docker("kill", "box")
    done = docker("exec", "box", "true", check=False)
    assert done.stderr.strip() == f"Error response from daemon: container {ident} is not running"
    docker("run", "-d", "--name", "again", "--restart", "always", busybox, "false")
    wait_for(lambda: docker("inspect", "-f", "{{.State.Restarting}}", "again").stdout == "true\n", 20)
    done = docker("exec", "again", "true", check=False)
    assert done.returncode == 1
    assert "is restarting, wait until the container is running" in done.stderr or "is not running" in done.stderr


def test_flags_of_exec(docker: Docker, busybox: str, tmp_path: Any) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "100")
    (tmp_path / "env").write_text("ONE=1\n# no\nTWO=2 2\n")
    done = docker("exec", "--env-file", tmp_path / "env", "-e", "ONE=x", "box", "sh", "-c", "echo $ONE $TWO")
    assert done.stdout == "x 2 2\n"
    more, plain = (
        int(docker("exec", *flags, "box", "grep", "CapEff", "/proc/self/status").stdout.split()[1], 16)
        for flags in (("--privileged",), ())
    )
    assert more > plain
    nobody = docker("exec", "-u", "nosuch", "box", "true", check=False)
    assert (nobody.returncode, nobody.stdout + nobody.stderr) == (
        1,
        "Error response from daemon: unable to find user nosuch: no matching entries in passwd file\n",
    )
    assert docker("exec", "box", "nosuch", check=False).returncode == 127
    assert docker("exec", "box", "/etc/passwd", check=False).returncode == 126


def test_an_exec_as_inspect_shows_it(docker: Docker, api: Api) -> None:
    docker("run", "-d", "--name", "box", "busybox", "sleep", "100")
    body = {"Cmd": ["sh", "-c", "sleep 100"], "Tty": True, "AttachStdin": True, "DetachKeys": "ctrl-a,b", "User": "0"}
    ident = api.need("POST", "/containers/box/exec", body)["Id"]
    shown = api.need("GET", f"/exec/{ident}/json")
    assert shown["ProcessConfig"] == {
        **{"tty": True, "entrypoint": "sh", "arguments": ["-c", "sleep 100"], "privileged": False, "user": "0"}
    }
    assert (shown["Running"], shown["ExitCode"], shown["Pid"], shown["CanRemove"]) == (False, None, 0, False)
    assert (shown["OpenStdin"], shown["OpenStdout"], shown["OpenStderr"]) == (True, False, False)
    assert base64.b64decode(shown["DetachKeys"]) == b"\x01b"
    assert api.need("GET", "/containers/box/json")["ExecIDs"] == [ident]
    api.need("POST", f"/exec/{ident}/start", {"Detach": True, "Tty": True})
    shown = api.need("GET", f"/exec/{ident}/json")
    assert shown["Running"] and shown["Pid"] > 0
    assert api.post(f"/exec/{ident}/resize", h=40, w=100).status == 200
    docker("kill", "box")
    wait_for(lambda: not api.need("GET", f"/exec/{ident}/json")["Running"], 10)
    assert api.need("GET", f"/exec/{ident}/json")["ExitCode"] == 137
    assert api.post("/containers/box/exec", {"Cmd": ["x"], "DetachKeys": "ctrl-!"}).text in (
        "Invalid escape keys (ctrl-!) provided",
    )


def test_events_of_streams(docker: Docker, engine: Engine, api: Api) -> None:
    begin = time.time()
    docker("run", "-dit", "--name", "box", "busybox", "sh")
    with api.hijacked("/containers/box/attach?stream=1&stdin=1&stdout=1&detachKeys=a") as stream:
        head(stream)
        stream.sendall(b"a")
        rest(stream)
    docker("exec", "box", "sh", "-c", "exit 4", check=False)
    time.sleep(0.2)
    shape = "{{.Action}} {{.Actor.Attributes.exitCode}}"
    since = ("--since", f"{begin:.3f}", "--until", f"{time.time():.3f}")
    done = docker("events", *since, "--filter", "container=box", "--format", shape).stdout.splitlines()
    found = [line.removesuffix(" <no value>").strip() for line in done]
    wanted = ["attach", "detach", "exec_create: sh -c exit 4", "exec_start: sh -c exit 4", "exec_die 4"]
    assert [line for line in found if line in wanted] == wanted


def test_attaching_where_it_can_not_be(docker: Docker, api: Api) -> None:
    docker("run", "-d", "--name", "box", "busybox", "sleep", "100")
    docker("pause", "box")
    answer = api.post("/containers/box/attach", stream=1, stdout=1)
    assert (answer.status, answer.text) == (409, "container box is paused, unpause the container before attach")
    docker("unpause", "box")
    answer = api.post("/containers/box/attach", stream=1, detachKeys="ctrl-!")
    assert (answer.status, answer.text) == (400, "Invalid detach keys (ctrl-!) provided")
    docker("kill", "box")
    done = docker("attach", "box", check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "You cannot attach to a stopped container, start it first")


def test_signals_are_passed_on_unless_they_should_not(docker: Docker, engine: Engine, api: Api) -> None:
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    for proxied in (True, False):
        docker("run", "-d", "--name", f"s{proxied}", "busybox", "sh", "-c", script)
        wait_for(lambda name=f"s{proxied}": "ready" in docker("logs", name).stdout, 10)
        client = engine.docker_popen("attach", f"--sig-proxy={str(proxied).lower()}", "--no-stdin", f"s{proxied}")
        time.sleep(0.7)
        client.send_signal(signal.SIGTERM if proxied else signal.SIGKILL)
        client.communicate(timeout=20)
        assert running(api, f"s{proxied}") != proxied


# Clients that close their writing side


def half_closed(engine: Engine, sent: bytes) -> bytes:
    """Send this, close the writing side, and read to the end."""
    with rawhttp.connect(engine.socket, 60) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return rest(client)


def test_a_client_that_closes_its_writing_side_is_answered(engine: Engine, docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "late", "busybox", "sh", "-c", "sleep 0.5; echo late; exit 3")
    followed = half_closed(engine, rawhttp.request("GET", "/containers/late/logs?stdout=1&follow=1"))
    assert b"late\n" in followed
    assert b'{"StatusCode":3}' in half_closed(engine, rawhttp.request("POST", "/containers/late/wait"))
    body = json.dumps({"Image": "busybox"}).encode()
    created = half_closed(engine, rawhttp.request("POST", "/containers/create", body, "Content-Type: application/json"))
    assert created.startswith(b"HTTP/1.1 201 ")


def test_a_half_close_ends_the_input_of_an_exec_and_not_its_output(
    api: Api, engine: Engine, docker: Docker, busybox: str
) -> None:
    docker("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    wish = {"Cmd": ["sh", "-c", "cat; sleep 0.3; echo done"], "AttachStdin": True, "AttachStdout": True}
    made = api.need("POST", "/containers/host/exec", wish)["Id"]
    begin = rawhttp.request("POST", f"/exec/{made}/start", b"{}", "Content-Type: application/json")
    answer = half_closed(engine, begin + b"input\n")
    assert split(answer.partition(b"\r\n\r\n")[2])[0] == b"input\ndone\n"
