"""The real docker CLI on our socket: containers, their streams and their ends."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable

import pexpect
import pytest

from support.engines import Engine, wait_for

Docker = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def terminal(engine: Engine, busybox: str) -> Callable[..., pexpect.spawn]:
    """`terminal("run", "-it", …)`: the docker CLI on a pseudo terminal of 30 rows and 100 columns."""

    def spawn(*arguments: str) -> pexpect.spawn:
        environment = engine.environment({"TERM": "xterm"})
        return pexpect.spawn(
            "docker", list(arguments), env=environment, timeout=20, dimensions=(30, 100), encoding="utf-8"
        )

    return spawn


def test_run_shows_both_streams_apart_and_gives_the_exit_code(docker: Docker, busybox: str) -> None:
    done = docker("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert docker("ps", "-aq").stdout == ""


def test_run_detached_gives_an_id_that_every_command_takes(docker: Docker, busybox: str) -> None:
    ident = docker("run", "-d", "--name", "web", "-e", "A=b c", "-l", "k=v", busybox, "sleep", "100").stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", ident)
    line = docker("ps", "--format", "{{json .}}").stdout
    shown = json.loads(line)
    assert shown["ID"] == ident[:12]
    assert (shown["Names"], shown["Image"], shown["Command"]) == ("web", busybox, '"sleep 100"')
    assert shown["State"] == "running"
    assert shown["Status"].startswith("Up ")
    assert shown["Labels"] == "k=v"
    for name in (ident, ident[:12], ident[:5], "web"):
        assert docker("inspect", "-f", "{{.Id}} {{.State.Running}}", name).stdout.strip() == f"{ident} true"
    assert docker("inspect", "-f", "{{index .Config.Env 0}}", "web").stdout.strip() == "A=b c"
    assert docker("stop", "-t", "0", "web").stdout.strip() == "web"
    assert docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web").stdout.strip() == "exited 137"
    assert docker("ps", "-q").stdout == ""
    assert docker("rm", "web").stdout.strip() == "web"
    gone = docker("inspect", "web", check=False)
    assert gone.returncode == 1
    assert "No such object: web" in gone.stderr


def test_standard_input_is_fed_and_its_end_is_passed_on(docker: Docker, busybox: str) -> None:
    data = "".join(f"line {number}\n" for number in range(20000))
    done = docker("run", "--rm", "-i", busybox, "sh", "-c", "wc -c; echo after", stdin=data, timeout=30)
    assert done.stdout.split() == [str(len(data)), "after"]
    assert docker("run", "--rm", "-i", busybox, "cat", stdin=data).stdout == data


def test_without_i_there_is_no_input(docker: Docker, busybox: str) -> None:
    assert docker("run", "--rm", busybox, "sh", "-c", "cat; echo done", stdin="ignored").stdout == "done\n"


def test_binary_streams_pass_unchanged(docker: Docker, busybox: str) -> None:
    data = bytes(range(256)) * 1000
    done = docker("run", "--rm", "-i", busybox, "cat", stdin=data, text=False)
    assert done.stdout == data


def test_a_terminal_is_real_and_has_the_clients_size(terminal: Callable[..., pexpect.spawn], docker: Docker) -> None:
    shell = terminal("run", "--rm", "-it", "--name", "tty", "busybox", "sh")
    shell.expect("#")
    shell.sendline("tty; stty size; [ -t 0 ] && [ -t 1 ] && echo both-$((1+1))")
    shell.expect(r"/dev/pts/\d+\s+30 100\s+both-2")
    shell.setwinsize(41, 77)
    wait_for(lambda: docker("exec", "tty", "sh", "-c", "stty size < /proc/1/fd/0").stdout.strip() == "41 77", 10)
    shell.sendline("exit 3")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 3


def test_ctrl_c_in_a_terminal_reaches_the_process(terminal: Callable[..., pexpect.spawn]) -> None:
    shell = terminal(
        "run", "--rm", "-it", "busybox", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; sleep 60"
    )
    shell.expect("ready")
    time.sleep(0.2)
    shell.sendintr()
    shell.expect("caught")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 5


def test_detach_keys_leave_the_container_running(terminal: Callable[..., pexpect.spawn], docker: Docker) -> None:
    shell = terminal("run", "-it", "--name", "left", "--detach-keys", "ctrl-a,d", "busybox", "sh")
    shell.expect("#")
    shell.sendcontrol("a")
    shell.send("d")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    assert docker("ps", "--format", "{{.Names}}").stdout.strip() == "left"
    again = terminal("attach", "left")
    again.sendline("echo back-$((20+1))")
    again.expect("back-21")
    again.sendline("exit")
    again.expect(pexpect.EOF)


def test_exec_runs_beside_the_first_process(docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", "-e", "BASE=1", busybox, "sleep", "100")
    done = docker(
        "exec", "-e", "MORE=2", "-w", "/tmp", "-u", "1000", "box",
        "sh", "-c", "echo $BASE $MORE $PWD $(id -u); echo e >&2; exit 4", check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("1 2 /tmp 1000\n", "e\n", 4)
    assert docker("exec", "-i", "box", "wc", "-c", stdin="12345").stdout.strip() == "5"
    assert docker("exec", "-d", "box", "touch", "/made").stdout == ""
    wait_for(lambda: docker("exec", "box", "ls", "/made", check=False).returncode == 0, 5)


def test_exec_in_a_terminal(terminal: Callable[..., pexpect.spawn], docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "100")
    shell = terminal("exec", "-it", "box", "sh")
    shell.expect("#")
    shell.sendline("stty size; echo pid-$$")
    shell.expect(r"30 100\s+pid-(\d+)")
    assert shell.match.group(1) != "1"
    shell.sendline("exit 9")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 9


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("nosuch", 127, "not found"), ("/etc/passwd", 126, "permission denied"), ("/etc", 126, "is a directory")],
)
def test_what_can_not_be_executed(docker: Docker, busybox: str, command: str, code: int, words: str) -> None:
    done = docker("run", "--name", "bad", busybox, command, check=False)
    assert done.returncode == code
    assert words in done.stderr
    assert "OCI runtime create failed" in done.stderr
    assert docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "bad").stdout.strip() == f"created {code}"
    docker("run", "-d", "--name", "good", busybox, "sleep", "100")
    done = docker("exec", "-i", "good", command, check=False, stdin="never read")
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_an_unknown_image_is_125_and_says_so(docker: Docker) -> None:
    done = docker("run", "--rm", "nosuch:1", check=False)
    assert done.returncode == 125
    assert "Unable to find image 'nosuch:1' locally" in done.stderr
    assert "connect: connection refused" in done.stderr


def test_a_name_in_use_is_125_and_names_the_holder(docker: Docker, busybox: str) -> None:
    ident = docker("create", "--name", "taken", busybox).stdout.strip()
    done = docker("run", "--name", "taken", busybox, check=False)
    assert done.returncode == 125
    assert f'The container name "/taken" is already in use by container "{ident}"' in done.stderr


def test_logs_follow_until_the_end(docker: Docker, engine: Engine, busybox: str) -> None:
    docker(
        "run", "-d", "--name", "talker", busybox, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done; echo e >&2"
    )
    began = time.monotonic()
    follower = engine.docker_popen("logs", "-f", "talker")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "1\n"
    assert time.monotonic() - began < 5
    rest, errors = follower.communicate(timeout=20)
    assert (rest, errors, follower.returncode) == ("2\n3\n", "e\n", 0)
    assert docker("logs", "--tail", "1", "talker").stderr == "e\n"
    stamped = docker("logs", "-t", "talker").stdout.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z 1$", stamped[0])


def test_ending_logs_f_ends_only_the_reader(docker: Docker, engine: Engine, busybox: str) -> None:
    docker("run", "-d", "--name", "quiet", busybox, "sh", "-c", "echo here; sleep 100")
    follower = engine.docker_popen("logs", "-f", "quiet")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "here\n"
    follower.terminate()
    follower.communicate(timeout=10)
    assert docker("inspect", "-f", "{{.State.Running}}", "quiet").stdout.strip() == "true"


def test_stop_kill_restart_and_wait(docker: Docker, engine: Engine, busybox: str) -> None:
    docker("run", "-d", "--name", "box", busybox, "sh", "-c", "trap 'exit 42' TERM; while :; do sleep 0.05; done")
    time.sleep(0.3)
    waiter = engine.docker_popen("wait", "box")
    time.sleep(0.3)
    docker("stop", "box")
    assert waiter.communicate(timeout=10)[0].strip() == "42"
    docker("start", "box")
    first = docker("inspect", "-f", "{{.State.Pid}}", "box").stdout
    docker("restart", "-t", "0", "box")
    assert docker("inspect", "-f", "{{.State.Pid}}", "box").stdout != first
    docker("kill", "-s", "KILL", "box")
    assert docker("wait", "box").stdout.strip() == "137"
    done = docker("kill", "box", check=False)
    assert done.returncode == 1
    assert "is not running" in done.stderr


def test_rm_of_a_running_container_needs_force(docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", busybox, "sleep", "100")
    done = docker("rm", "box", check=False)
    assert done.returncode == 1
    assert "cannot remove container" in done.stderr
    assert "running" in done.stderr
    assert docker("rm", "-f", "box").stdout.strip() == "box"


def test_top_rename_port_and_update_of_the_list(docker: Docker, busybox: str) -> None:
    docker("run", "-d", "--name", "box", "-p", "127.0.0.1::80", busybox, "sleep", "123")
    lines = docker("top", "box").stdout.splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"]
    assert lines[1].endswith("sleep 123")
    docker("rename", "box", "crate")
    assert docker("ps", "--format", "{{.Names}}").stdout.strip() == "crate"
    published = docker("port", "crate", "80").stdout.strip()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", published)
    assert docker("ps", "--format", "{{.Ports}}").stdout.strip() == f"{published}->80/tcp"


def test_events_are_told_as_they_happen(docker: Docker, engine: Engine, busybox: str) -> None:
    listener = engine.docker_popen(
        "events", "--filter", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"
    )
    assert listener.stdout is not None
    time.sleep(0.5)
    docker("run", "--rm", "--name", "brief", busybox, "true")
    seen = [listener.stdout.readline().strip() for _ in range(5)]
    listener.terminate()
    listener.communicate(timeout=10)
    assert seen[0] == "create brief"
    assert {"start brief", "die brief", "destroy brief"} <= set(seen) | {"destroy brief"}
    time.sleep(1.1)  # the CLI asks for whole seconds
    past = docker("events", "--since", "10m", "--until", "0s", "--filter", "container=brief", "--format", "{{.Action}}")
    assert past.stdout.split()[-1] == "destroy"


def test_start_attached_gives_output_and_status(docker: Docker, busybox: str) -> None:
    docker("create", "--name", "box", "-i", busybox, "sh", "-c", "cat; exit 6")
    done = docker("start", "-ai", "box", stdin="fed\n", check=False)
    assert (done.stdout, done.returncode) == ("fed\n", 6)


def test_info_version_and_lists_of_the_other_things(docker: Docker, busybox: str) -> None:
    assert "Dosirak Engine" in docker("version").stdout
    info = json.loads(docker("info", "--format", "{{json .}}").stdout)
    assert info["OSType"] == "linux"
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert "ServerErrors" not in info
    names = docker("network", "ls", "--format", "{{.Name}} {{.Driver}}").stdout.split("\n")
    assert names[:3] == ["bridge bridge", "host host", "none null"]
    assert json.loads(docker("network", "inspect", "bridge").stdout)[0]["IPAM"]["Config"][0]["Subnet"]
    docker("run", "--rm", "-v", "data:/d", busybox, "sh", "-c", "head -c 5000 /dev/zero > /d/file")
    used = [json.loads(line) for line in docker("system", "df", "--format", "{{json .}}").stdout.splitlines()]
    assert {row["Type"]: row["Size"] for row in used}["Local Volumes"] == "5kB"
    assert docker("volume", "ls", "-q").stdout.strip() == "data"
    assert docker("volume", "rm", "data").stdout.strip() == "data"
