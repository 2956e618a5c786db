"""create, start, state, kill, delete, run, list, spec and features, on the real kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dosirak.engine.oci import features as told
from dosirak.engine.oci import state
from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.seccomp import document as seccomp

if TYPE_CHECKING:
    from conftest import Runtime


def test_a_run_gives_the_program_s_output_and_status(runtime: Runtime) -> None:
    done = runtime("run", "--bundle", runtime.bundle("sh", "-c", "hostname; exit 7"), runtime.name(), fails=True)
    assert (done.returncode, done.stdout) == (7, "dosirak\n")


def test_a_run_that_a_signal_ends_has_the_status_a_shell_would_give_it(runtime: Runtime) -> None:
    def without_pid_namespace(document: dict[str, Any]) -> None:
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]

    bundle = runtime.bundle("sh", "-c", "kill -KILL $$", change=without_pid_namespace)
    assert runtime("run", "--bundle", bundle, runtime.name(), fails=True).returncode == 128 + signal.SIGKILL


def test_a_created_container_waits_until_it_is_started(runtime: Runtime) -> None:
    pid_file = runtime.folder / "pid"
    name = runtime.name()
    with (runtime.folder / "said").open("w+") as said:
        bundle = runtime.bundle("sh", "-c", "echo ran; exec sleep 1000")
        runtime("create", "--bundle", bundle, "--pid-file", pid_file, name, stdout=said, stderr=said)
        shown = runtime.state(name)
        assert (shown["status"], shown["pid"]) == ("created", int(pid_file.read_text()))
        assert Path(f"/proc/{shown['pid']}/cgroup").read_text().count(f"dosirak/{name}")
        assert Path(said.name).read_text() == ""
        runtime("start", name)
        runtime.until(name, "running")
        deadline = time.monotonic() + 20
        while Path(said.name).read_text() != "ran\n":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert "already running" in runtime("start", name, fails=True).stderr
    assert "not stopped" in runtime("delete", name, fails=True).stderr
    runtime("kill", name, "KILL")
    runtime.until(name, "stopped")
    assert "not running" in runtime("kill", name, fails=True).stderr
    runtime("delete", name)
    assert "does not exist" in runtime("state", name, fails=True).stderr
    assert cgroups.processes(f"dosirak/{name}") == []


def test_the_container_s_process_is_a_descendant_of_the_caller(runtime: Runtime) -> None:
    # As podman's conmon is: a subreaper that has to reap it, after `create` has long ended.
    name, bundle, pid_file = runtime.name(), runtime.bundle("sh", "-c", "exit 9"), str(runtime.folder / "pid")
    script = f"""
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
command = {runtime.command()!r}
subprocess.run([*command, "create", "--bundle", {str(bundle)!r}, "--pid-file", {pid_file!r}, {name!r}], check=True)
subprocess.run([*command, "start", {name!r}], check=True)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(int(open({pid_file!r}).read()), 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 9


def test_a_container_that_was_never_started_can_be_deleted(runtime: Runtime) -> None:
    name = runtime.create(runtime.bundle())
    pid = runtime.state(name)["pid"]
    runtime("delete", name)
    assert state.start_time(pid) == 0


def test_force_deletes_what_runs_and_what_is_not_there(runtime: Runtime) -> None:
    name = runtime.name()
    runtime("run", "--detach", "--bundle", runtime.bundle("sleep", "1000"), name)
    runtime("delete", "--force", name)
    runtime("delete", "--force", name)
    assert "does not exist" in runtime("delete", name, fails=True).stderr


def test_the_list_shows_each_container(runtime: Runtime) -> None:
    bundle = runtime.bundle("sleep", "1000")
    first, second = sorted(runtime.create(bundle) for _ in range(2))
    runtime("start", second)
    assert [(one["id"], one["status"]) for one in json.loads(runtime("list", "--format", "json").stdout)] == [
        (first, "created"),
        (second, "running"),
    ]
    heading, *rows = runtime("list").stdout.splitlines()
    assert heading.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert [row.split()[0] for row in rows] == [first, second]


def test_nothing_is_left_of_a_container_that_can_t_be_made(runtime: Runtime) -> None:
    name = runtime.name()
    done = runtime("create", "--bundle", runtime.bundle("/no/such/program"), name, fails=True)
    assert done.returncode == 1
    assert "no such file or directory" in done.stderr
    assert not (runtime.root / name).exists()
    left = [list(Path("/sys/fs/cgroup").glob(f"{place}dosirak/{name}")) for place in ("", "*/")]
    assert left == [[], []]
    runtime("run", "--bundle", runtime.bundle(), name)


def test_a_seccomp_filter_is_compiled_once_and_loaded(runtime: Runtime) -> None:
    def filtered(document: dict[str, Any]) -> None:
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}
        document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}

    bundle = runtime.bundle("mkdir", "/tmp/x", change=filtered)
    kept = []
    for _ in range(2):
        done = runtime("run", "--bundle", bundle, runtime.name(), fails=True)
        assert done.returncode == 1
        assert os.strerror(71) in done.stderr
        kept.append([(path.name, path.stat().st_ino) for path in (runtime.root / "@seccomp").iterdir()])
    assert len(kept[0]) == 1
    assert kept[1] == kept[0]


def test_what_a_container_could_reach_of_us_can_not_be_written(runtime: Runtime) -> None:
    # CVE-2019-5736: what waits for `start`, and would be executed by a program that names /proc/self/exe.
    name = runtime.create(runtime.bundle())
    path = f"/proc/{runtime.state(name)['pid']}/exe"
    assert "memfd:steps" in os.readlink(path)
    assert Path(path).stat().st_size < 65536  # no interpreter
    with pytest.raises(OSError, match=r"Text file busy|not permitted|Permission denied"):
        Path(path).write_bytes(b"x")


def test_an_image_can_not_make_the_interpreter_its_program(runtime: Runtime) -> None:
    # CVE-2019-5736 itself: the program is a link to whatever executes it.
    bundle = runtime.bundle("/proc/self/exe", "-c", "print('python')")
    done = runtime("run", "--bundle", bundle, runtime.name(), fails=True)
    assert done.returncode != 0 and "python" not in done.stdout


def test_features_are_those_of_the_parts_that_do_them() -> None:
    actions = {f"SCMP_ACT_{name}" for name in told.ACTIONS}
    assert actions == set(seccomp._ACTIONS)
    assert {f"SCMP_CMP_{name}" for name in told.OPERATORS} == set(seccomp.OPERATORS)
    assert set(told.FLAGS) == set(seccomp._FLAGS)


def test_features_and_a_spec_can_be_read(runtime: Runtime) -> None:
    features = json.loads(runtime("features").stdout)
    assert features["ociVersionMax"].startswith("1.2")
    assert features["linux"]["cgroup"][f"v{cgroups.version()}"]
    assert {"mount", "pid", "user"} <= set(features["linux"]["namespaces"])
    assert "Remove it first" in runtime("spec", "--bundle", runtime.bundle(), fails=True).stderr
