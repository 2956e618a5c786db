"""The `dosirak` command as a process: text, exit status, a real terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pytest

from support import registries
from support.engines import Engine

COMMAND = str(Path(sys.executable).with_name("dosirak"))


@pytest.fixture
def dosirak(engine: Engine, busybox: str) -> Any:
    def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        environment = {**engine.environment(), "DOSIRAK_TEST": "1"}
        return subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=60, **source
        )

    return run


def ageless(lines: list[str]) -> list[str]:
    return [re.sub(r"\d+ seconds", "some seconds", line) for line in lines]


def test_it_prints_what_docker_prints(dosirak: Any, docker: Any) -> None:
    identity = dosirak("run", "-d", "--name", "box", "-p", "80", "busybox", "sleep", "100").stdout.strip()
    assert len(identity) == 64
    for arguments in (
        ("ps", "-a"),
        ("ps", "-aq"),
        ("ps", "--no-trunc"),
        ("ps", "--format", "table {{.Names}}\t{{.Image}}\t{{.Ports}}\t{{.Command}}"),
        ("ps", "--format", "{{.ID}}|{{.Names}}|{{.State}}|{{.Mounts}}|{{.Networks}}|{{.Labels}}"),
        ("images",),
        ("images", "-q", "--no-trunc"),
        ("network", "ls"),
        ("port", "box"),
        ("top", "box"),
        ("inspect", "-f", "{{.State.Status}} {{json .Config.Cmd}} {{range .Args}}<{{.}}>{{end}}", "box"),
        ("history", "-q", "busybox"),
    ):
        for _ in range(4):  # "2 seconds ago" is "3 seconds ago" in between
            before, ours, after = (
                [line.rstrip() for line in run(*arguments).stdout.splitlines()] for run in (docker, dosirak, docker)
            )
            if ours in (before, after):
                break
        assert ours in (before, after) or ageless(ours) == ageless(after)  # on a slow machine each is a second older
    shown = dosirak("ps", "--format", "{{.Platform}} {{json .Platform}}").stdout
    assert re.fullmatch(r'linux/(\w+) {"architecture":"\1","os":"linux"}\n', shown)
    bogus = dosirak("logs", "--since", "bogus", "box")
    assert bogus.stderr == 'dosirak: invalid value for "since": failed to parse value as time or duration: "bogus"\n'
    assert dosirak("stop", "-t", "0", "box").stdout == "box\n"
    assert dosirak("rm", "box").stdout == "box\n"


def test_exit_statuses_are_docker_s(dosirak: Any) -> None:
    assert dosirak("run", "--rm", "busybox", "sh", "-c", "exit 42").returncode == 42
    assert dosirak("run", "--rm", "busybox", "nosuch").returncode == 127
    assert dosirak("run", "--rm", "busybox", "/etc").returncode == 126
    assert dosirak("run", "--nmae", "x").returncode == 125
    missing = dosirak("rm", "nope")
    assert (missing.returncode, missing.stderr) == (1, "dosirak: Error response from daemon: No such container: nope\n")


def test_input_and_output_pass_byte_for_byte(dosirak: Any, engine: Engine) -> None:
    data = os.urandom(200_000)
    result = subprocess.run(
        [COMMAND, "run", "--rm", "-i", "busybox", "cat"], input=data, capture_output=True, env=engine.environment()
    )
    assert result.stdout == data
    assert dosirak("run", "--rm", "-i", "busybox", "sh", stdin="echo out; echo err >&2").stderr == "err\n"
    refused = dosirak("run", "--rm", "-it", "busybox", "sh", stdin="")
    assert (refused.returncode, refused.stderr) == (1, "dosirak: the input device is not a TTY\n")


def test_a_dockerfile_is_built(dosirak: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY f /f\nCMD cat /f\n")
    (tmp_path / "f").write_text("content")
    built = dosirak("build", "-t", "built", str(tmp_path))
    assert "Step 3/3 : CMD cat /f" in built.stdout and "Successfully tagged built:latest" in built.stdout
    assert dosirak("run", "--rm", "built").stdout == "content"
    quiet = dosirak("build", "-q", str(tmp_path)).stdout
    assert quiet.startswith("sha256:") and quiet.count("\n") == 1
    assert dosirak("build", "-f", "-", str(tmp_path), stdin="FROM busybox\nRUN cat /nope\n").returncode == 1


def test_a_terminal_is_raw_resizes_and_detaches(engine: Engine, busybox: str) -> None:
    def spawn(*arguments: str) -> Any:
        return pexpect.spawn(
            COMMAND, list(arguments), dimensions=(30, 100), timeout=15, encoding="utf8", env=engine.environment()
        )

    child = spawn("run", "-it", "--name", "box", "busybox", "sh")
    child.expect("# ")
    child.sendline("stty size")
    child.expect("30 100")
    child.setwinsize(40, 120)
    for _ in range(20):  # the size arrives a moment after the signal
        child.sendline("stty size")
        if child.expect(["40 120", "30 100"]) == 0:
            break
    else:
        pytest.fail("the new size did not arrive")
    child.sendline("sleep 50")
    child.expect("sleep 50")
    time.sleep(0.5)  # it has to be there to be interrupted
    child.sendcontrol("c")
    child.expect("# ")
    child.sendcontrol("p")
    child.sendcontrol("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert engine.client.containers.get("box").status == "running"
    again = spawn("attach", "box")
    again.sendline("exit 6")
    again.expect(pexpect.EOF)
    again.close()
    assert again.exitstatus == 6


def test_control_c_reaches_a_container_without_a_terminal(engine: Engine, busybox: str) -> None:
    script = "trap 'echo got; exit 4' INT; echo ready; while :; do sleep 0.05; done"
    arguments = ["run", "--rm", "busybox", "sh", "-c", script]
    child = pexpect.spawn(COMMAND, arguments, timeout=15, encoding="utf8", env=engine.environment())
    child.expect("ready")
    child.sendintr()
    child.expect("got")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_a_closed_pipe_ends_it_quietly(engine: Engine, busybox: str) -> None:
    script = f"{COMMAND} --help | head -1"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=engine.environment())
    assert (result.stdout, result.stderr) == ("Usage: dosirak COMMAND\n", "")


def test_login_and_search_say_and_do_what_docker_s_do(dosirak: Any, docker: Any, engine: Engine) -> None:
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    config = engine.settings.data.parent / "docker-config/config.json"
    with registries.running(registries.HTPASSWD) as closed, registries.running() as opened:
        login = ("login", "-u", registries.USER, "--password-stdin", closed.address)
        written = []
        for run in (docker, dosirak):
            done = run(*login, stdin=f"{registries.PASSWORD}\n")
            written.append((done.stdout.strip(), json.loads(config.read_text())["auths"]))
            assert f"stored unencrypted in '{config}'" in done.stderr
            assert run("logout", closed.address).stdout == f"Removing login credentials for {closed.address}\n"
        assert written[0] == written[1]
        assert json.loads(config.read_text())["auths"] == {}
        for run in (dosirak, docker):
            done = run("login", closed.address, **({} if run is dosirak else {"check": False}))
            assert (done.returncode, done.stdout) == (1, "")
            assert "cannot perform an interactive login from a non" in done.stderr.lower()
            done = run(*login, stdin="wrong", **({} if run is dosirak else {"check": False}))
            assert done.returncode == 1 and "401 Unauthorized" in done.stderr
        opened.image("tools/hammer:1", [b"\0" * 1024])
        arguments = ("search", f"{opened.address}/hammer")
        ours, theirs = ([line.split() for line in run(*arguments).stdout.splitlines()] for run in (dosirak, docker))
        assert ours == theirs
    config.unlink()


def test_a_password_is_typed_without_being_shown(engine: Engine) -> None:
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    config = engine.settings.data.parent / "docker-config/config.json"
    with registries.running(registries.HTPASSWD) as closed:
        child = pexpect.spawn(
            COMMAND, ["login", closed.address], env=engine.environment(), encoding="utf-8", timeout=30
        )
        child.expect("Username: ")
        child.sendline(registries.USER)
        child.expect("Password: ")
        child.sendline(registries.PASSWORD)
        child.expect("Login Succeeded")
        said = child.before
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
    assert registries.PASSWORD not in said
    config.unlink()
