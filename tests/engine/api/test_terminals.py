"""`-it` through a pseudo terminal, with the docker CLI and with ours: it feels like a terminal."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from support.engines import Engine, wait_for

Docker = Callable[..., "subprocess.CompletedProcess[str]"]
Terminal = Callable[..., pexpect.spawn]
CLIENTS = {"docker": "docker", "dosirak": str(Path(sys.executable).with_name("dosirak"))}


@pytest.fixture(params=CLIENTS)
def terminal(request: pytest.FixtureRequest, engine: Engine, busybox: str) -> Iterator[Terminal]:
    """`terminal("run", "-it", …)`: a client on a pseudo terminal of 30 rows and 100 columns."""
    opened: list[pexpect.spawn] = []

    def spawn(*arguments: str) -> pexpect.spawn:
        words = [*(["container"] if request.param == "dosirak" else []), *arguments]
        environment = engine.environment({"TERM": "xterm-256color"})
        opened.append(
            pexpect.spawn(
                CLIENTS[request.param], words, env=environment, timeout=20, dimensions=(30, 100), encoding="utf-8"
            )
        )
        return opened[-1]

    yield spawn
    for one in opened:
        one.close(force=True)


def end(shell: pexpect.spawn) -> int:
    """Wait for the client's end; its exit status."""
    shell.expect(pexpect.EOF)
    shell.close()
    return int(shell.exitstatus)


def test_the_size_is_right_from_the_start_and_follows(terminal: Terminal, docker: Docker) -> None:
    shell = terminal("run", "--rm", "-it", "--name", "sized", "busybox", "sh", "-c", "stty size; echo $TERM; exec sh")
    shell.expect(r"30 100\s+xterm\s")
    shell.setwinsize(41, 77)
    wait_for(lambda: docker("exec", "sized", "sh", "-c", "stty size < /proc/1/fd/0").stdout.strip() == "41 77", 10)
    shell.sendline("exit 3")
    assert end(shell) == 3


def test_jobs_are_controlled(terminal: Terminal) -> None:
    """^Z, fg, ^C: sessions, process groups and the terminal's signals are as a shell needs them."""
    shell = terminal("run", "--rm", "-it", "busybox", "sh")
    shell.expect("# ")
    shell.sendline("sleep 300")
    shell.expect("sleep 300")
    time.sleep(0.3)
    shell.sendcontrol("z")
    shell.expect(r"Stopped\s+sleep 300")
    shell.sendline("fg")
    shell.expect("fg\r\nsleep 300")
    time.sleep(0.3)
    shell.sendintr()
    shell.expect("# ")
    shell.sendline("echo went-$?")
    shell.expect("went-130")
    shell.sendline("exit")
    end(shell)


def test_what_is_typed_is_echoed_unless_the_program_wants_none(terminal: Terminal) -> None:
    shell = terminal("run", "--rm", "-it", "busybox", "sh", "-c", "read a; stty -echo; echo no; read b; echo $a-$b")
    shell.sendline("seen")
    shell.expect("seen\r\n.*no\r\n")
    shell.sendline("hidden")
    shell.expect("(.*)seen-hidden")
    assert "hidden" not in shell.match.group(1)
    assert end(shell) == 0


def test_an_exec_is_a_terminal_of_its_own(terminal: Terminal, docker: Docker) -> None:
    docker("run", "-d", "--name", "box", "busybox", "sleep", "100")
    shell = terminal(
        "exec", "-it", "-e", "A=b", "-w", "/tmp", "box", "sh", "-c", "stty size; echo $TERM $A $PWD; exec sh"
    )
    shell.expect(r"30 100\s+xterm b /tmp\s")
    shell.setwinsize(20, 66)
    shell.expect("# ")
    time.sleep(0.3)
    shell.sendline("stty size")
    shell.expect("20 66")
    shell.sendline("trap 'echo caught' INT; sleep 100")
    time.sleep(0.3)
    shell.sendintr()
    shell.expect("caught")
    shell.sendline("exit 9")
    assert end(shell) == 9
    assert docker("inspect", "-f", "{{.State.Running}}", "box").stdout.strip() == "true"


def test_detaching_and_attaching_again(terminal: Terminal, docker: Docker) -> None:
    shell = terminal("run", "-it", "--name", "left", "busybox", "sh")
    shell.expect("# ")
    shell.sendline("cd /tmp")
    shell.expect("/tmp #")
    shell.sendcontrol("p")
    shell.sendcontrol("q")
    assert end(shell) == 0
    for word, keys in (("one", "ctrl-x,y"), ("two", "ctrl-p,ctrl-q")):
        again = terminal("attach", "--detach-keys", keys, "left")
        again.sendline(f"echo {word}-$PWD")
        again.expect(f"{word}-/tmp")
        if word == "one":
            again.sendcontrol("x")
            again.send("y")
            again.expect("read escape sequence")
        else:
            again.sendline("exit 4")
        assert end(again) == (4 if word == "two" else 1)


def test_the_configuration_has_other_detach_keys(
    terminal: Terminal, docker: Docker, engine: Engine, request: pytest.FixtureRequest
) -> None:
    config = Path(engine.environment()["DOCKER_CONFIG"], "config.json")
    config.write_text('{"detachKeys": "ctrl-x,y"}')
    request.addfinalizer(config.unlink)
    docker("run", "-dit", "--name", "box", "busybox", "sh")
    for words in (("attach", "box"), ("exec", "-it", "box", "sh")):
        shell = terminal(*words)
        shell.sendline("echo here-$((1+1))")
        shell.expect("here-2")
        shell.sendcontrol("p")
        shell.sendcontrol("q")
        shell.sendline("echo there-$((1+1))")
        shell.expect("there-2")
        shell.sendcontrol("x")
        shell.send("y")
        shell.expect("read escape sequence")
        assert end(shell) == 1
    shell = terminal("attach", "--detach-keys", "ctrl-a", "box")
    shell.sendcontrol("a")
    shell.expect("read escape sequence")
    assert end(shell) == 1


def test_two_see_the_same_terminal(terminal: Terminal) -> None:
    first = terminal("run", "--rm", "-it", "--name", "shared", "busybox", "sh")
    first.expect("# ")
    second = terminal("attach", "shared")
    time.sleep(0.5)
    second.sendline("echo both-$((1+1))")
    first.expect("both-2")
    second.expect("both-2")
    first.sendline("exit 6")
    assert end(first) == 6
    assert end(second) == 6
