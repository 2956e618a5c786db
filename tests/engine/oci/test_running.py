"""exec, ps, pause, resume and update; hooks; terminals and descriptors that are handed on."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dosirak.engine.oci import hooks
from dosirak.engine.runtime import cgroups
from support.engines import wait_for

if TYPE_CHECKING:
    from conftest import Runtime


@pytest.fixture
def running(runtime: Runtime) -> str:
    name = runtime.create(runtime.bundle("sleep", "1000"))
    runtime("start", name)
    return name


def test_an_exec_has_streams_and_status_of_its_own(runtime: Runtime, running: str) -> None:
    script = "cat; echo $GREETING; id -u; pwd; exit 5"
    words = ["--env", "GREETING=hello", "--user", "1000:1000", "--cwd", "/tmp", running, "sh", "-c", script]
    text = runtime.folder / "in"
    text.write_text("from outside\n")
    with text.open() as source:
        done = runtime("exec", *words, fails=True, stdin=source)
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (5, "from outside\nhello\n1000\n/tmp\n")


def test_an_exec_by_document_goes_on_without_its_command(runtime: Runtime, running: str) -> None:
    process = {"args": ["sleep", "1001"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    document, pid_file = runtime.folder / "process.json", runtime.folder / "exec.pid"
    document.write_text(json.dumps(process))
    runtime("exec", "--detach", "--process", document, "--pid-file", pid_file, running)
    pids = json.loads(runtime("ps", "--format", "json", running).stdout)
    assert sorted(pids) == sorted([runtime.state(running)["pid"], int(pid_file.read_text())])
    assert {"sleep 1000", "sleep 1001"} == {line[-10:] for line in runtime("ps", running).stdout.splitlines()[1:]}


TRACING = {kind: ["CAP_SYS_PTRACE"] for kind in ("bounding", "effective", "permitted")}


def _traced(runtime: Runtime, capabilities: dict[str, list[str]]) -> str:
    name = runtime.create(
        runtime.bundle("sleep", "1000", change=lambda document: document["process"].update(capabilities=capabilities))
    )
    runtime("start", name)
    return name


@pytest.mark.parametrize(("inside", "entering", "sealed"), [({}, {}, False), (TRACING, {}, True), ({}, TRACING, True)])
def test_who_might_trace_what_enters_finds_no_interpreter_to_write_to(
    runtime: Runtime, inside: dict[str, list[str]], entering: dict[str, list[str]], sealed: bool
) -> None:
    name = _traced(runtime, inside)
    document, pid_file = runtime.folder / "process.json", runtime.folder / "exec.pid"
    process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "capabilities": entering}
    document.write_text(json.dumps(process))
    command = runtime.command("exec", "--process", document, "--pid-file", pid_file, name)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as staying:
        wait_for(pid_file.exists)
        flags = os.statvfs(f"/proc/{staying.pid}/exe").f_flag
        runtime("delete", "--force", name)
    assert bool(flags & os.ST_RDONLY) == sealed


def test_an_exec_that_may_trace_seals_those_after_it(runtime: Runtime) -> None:
    name = _traced(runtime, {})

    def sealed() -> bool:
        pid_file = runtime.folder / f"{time.monotonic_ns()}.pid"
        command = runtime.command("exec", "--pid-file", pid_file, name, "sleep", "1000")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as staying:
            wait_for(pid_file.exists)
            flags = os.statvfs(f"/proc/{staying.pid}/exe").f_flag
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
        return bool(flags & os.ST_RDONLY)

    assert not sealed()
    runtime("exec", "--cap", "CAP_SYS_PTRACE", name, "true")
    assert sealed()


@pytest.mark.parametrize("capabilities", [{}, TRACING])  # with it our interpreter starts once more
def test_an_exec_s_document_may_come_by_a_pipe_or_a_descriptor(
    runtime: Runtime, running: str, capabilities: dict[str, list[str]]
) -> None:
    document = runtime.folder / "process.json"
    process = {"args": ["echo", "said"], "cwd": "/", "env": ["PATH=/bin"], "capabilities": capabilities}
    document.write_text(json.dumps(process))
    for script in ('cat "$0" | "$@" --process /dev/stdin', 'exec "$@" --process /dev/fd/7 7< "$0"'):
        done = runtime.plain(["sh", "-c", f"{script} {running}", str(document), *runtime.command("exec")])
        assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr


def test_an_exec_that_can_t_run_has_a_status_apart(runtime: Runtime, running: str) -> None:
    done = runtime("exec", running, "no-such-program", fails=True)
    assert done.returncode == 255
    assert "executable file not found in $PATH" in done.stderr


def test_a_paused_container_takes_no_exec(runtime: Runtime, running: str) -> None:
    runtime("pause", running)
    assert runtime.state(running)["status"] == "paused"
    assert "paused" in runtime("exec", running, "true", fails=True).stderr
    runtime("resume", running)
    assert "not paused" in runtime("resume", running, fails=True).stderr
    runtime("exec", running, "true")


def test_limits_change_while_it_runs(runtime: Runtime, running: str) -> None:
    runtime("update", "--pids-limit", "7", running)
    name = "pids.max"
    (path,) = list(Path("/sys/fs/cgroup").glob(f"*/dosirak/{running}/{name}")) or [
        Path(f"/sys/fs/cgroup/dosirak/{running}/{name}")
    ]
    assert path.read_text() == "7\n"
    runtime("update", "--resources", "-", running, input=json.dumps({"pids": {"limit": 9}}), text=True, stdin=None)
    assert path.read_text() == "9\n"


def test_all_processes_can_be_killed_at_once(runtime: Runtime) -> None:
    def shared(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]

    name = runtime.create(runtime.bundle("sh", "-c", "sleep 1000 & exec sleep 1000", change=shared))
    runtime("start", name)
    runtime("kill", "--all", name, "KILL")
    runtime.until(name, "stopped")
    runtime("delete", name)
    assert cgroups.processes(f"dosirak/{name}") == []


def _writing(runtime: Runtime, kind: str) -> dict[str, Any]:
    """A hook that notes what it sees: which kind, whose state, and whether the host's files are there."""
    script = f"read state; echo {kind} $(readlink /proc/self/ns/mnt) $state >> {runtime.folder}/hooks"
    if kind == "startContainer":
        script = "read state; echo $state > /dev/shm/hook"
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


def test_hooks_are_run_in_order_each_in_its_place(runtime: Runtime) -> None:
    def hooked(document: dict[str, Any]) -> None:
        document["hooks"] = {kind: [_writing(runtime, kind)] for kind in hooks.KINDS}

    name = runtime.create(runtime.bundle("sleep", "1000", change=hooked))
    own = os.readlink(f"/proc/{runtime.state(name)['pid']}/ns/mnt")
    host = os.readlink("/proc/self/ns/mnt")
    runtime("start", name)
    in_container = json.loads(runtime("exec", name, "sh", "-c", "cat /dev/shm/hook").stdout)
    assert (in_container["id"], in_container["status"]) == (name, "created")
    pid = runtime.state(name)["pid"]
    runtime("delete", "--force", name)
    seen = [line.split(" ", 2) for line in (runtime.folder / "hooks").read_text().splitlines()]
    assert [(kind, place) for kind, place, _ in seen] == [
        ("prestart", host),
        ("createRuntime", host),
        ("createContainer", own),
        ("poststart", host),
        ("poststop", host),
    ]
    states = [json.loads(text) for _, _, text in seen]
    assert {one["id"] for one in states} == {name}
    assert [one["pid"] for one in states] == [pid, pid, pid, pid, 0]
    assert [one["status"] for one in states] == ["creating", "creating", "creating", "running", "stopped"]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_is_the_end_of_a_create(runtime: Runtime, kind: str) -> None:
    def hooked(document: dict[str, Any]) -> None:
        document["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]}

    done = runtime("create", "--bundle", runtime.bundle(change=hooked), runtime.name(), fails=True)
    assert (done.returncode, f"{kind} hook #0: exit status 3" in done.stderr) == (1, True)
    assert runtime("list", "-q").stdout == ""


def test_a_hook_that_takes_too_long_is_killed(runtime: Runtime) -> None:
    def hooked(document: dict[str, Any]) -> None:
        document["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]}

    done = runtime("create", "--bundle", runtime.bundle(change=hooked), runtime.name(), fails=True)
    assert "ran past specified timeout" in done.stderr


def test_a_terminal_is_handed_to_the_console_socket(runtime: Runtime) -> None:
    def terminal(document: dict[str, Any]) -> None:
        document["process"] |= {"terminal": True, "consoleSize": {"height": 33, "width": 77}}

    bundle = runtime.bundle("sh", "-c", "tty; stty size", change=terminal)
    assert "console socket" in runtime("create", "--bundle", bundle, runtime.name(), fails=True).stderr
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(runtime.folder / "console"))
    listener.listen()
    listener.settimeout(20)
    got: list[int] = []

    def receive() -> None:
        with listener, listener.accept()[0] as peer:
            _, ancillary, _, _ = peer.recvmsg(64, socket.CMSG_SPACE(4))
            got.extend(array.array("i", ancillary[0][2]))

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    name = runtime.name()
    runtime("create", "--bundle", bundle, "--console-socket", runtime.folder / "console", name)
    thread.join(20)
    assert stat.S_ISCHR(os.fstat(got[0]).st_mode)
    runtime("start", name)
    said = b""
    while b"33 77" not in said:
        said += os.read(got[0], 1024)
    os.close(got[0])
    assert b"/dev/pts/0" in said


def test_only_the_descriptors_that_are_asked_for_come_along(runtime: Runtime) -> None:
    inside, outside = os.pipe()
    script = "ls /proc/self/fd; echo $LISTEN_FDS; echo through >&3"
    try:
        bundle = runtime.bundle("sh", "-c", script)

        def give() -> None:
            os.dup2(outside, 3)
            os.dup2(outside, 5)

        words = ("run", "--preserve-fds", "1", "--bundle", bundle, runtime.name())
        done = runtime(*words, preexec_fn=give, close_fds=False)
        assert os.read(inside, 100) == b"through\n"
    finally:
        os.close(inside)
        os.close(outside)
    *numbers, listen = done.stdout.split()
    assert listen == "1"
    assert set(numbers) <= {"0", "1", "2", "3", "4"}  # 4 is the listing's own
    assert "is not open" in runtime("run", "--preserve-fds", "9", "--bundle", bundle, "x", fails=True).stderr


def test_a_user_namespace_is_the_container_s_own(runtime: Runtime) -> None:
    def mapped(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"].append({"type": "user"})
        mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        document["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
        document["mounts"] = [one for one in document["mounts"] if one["type"] != "mqueue"]

    runtime.open_to_all()
    name = runtime.create(runtime.bundle("sleep", "1000", change=mapped))
    runtime("start", name)
    assert os.stat(f"/proc/{runtime.state(name)['pid']}").st_uid == 100000
    assert runtime("exec", name, "id", "-u").stdout == "0\n"


def test_sigkill_ends_all_who_share_the_host_s_pids(runtime: Runtime) -> None:
    def change(document: dict[str, Any]) -> None:
        spaces = document["linux"]["namespaces"]
        document["linux"]["namespaces"] = [entry for entry in spaces if entry["type"] != "pid"]

    name = runtime.create(runtime.bundle("sleep", "1000", change=change))
    runtime("start", name)
    runtime("exec", "--detach", name, "sleep", "1000")
    runtime("kill", name, "KILL")
    wait_for(lambda: not cgroups.processes(f"dosirak/{name}"))


def test_a_list_of_a_root_that_is_not_there_fails(runtime: Runtime) -> None:
    assert "no such file or directory" in runtime("list", fails=True).stderr
