"""Fields of config.json, each by what the program inside finds."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dosirak.engine.runtime import cgroups

if TYPE_CHECKING:
    from conftest import Runtime


def _process(**fields: Any) -> Any:
    return lambda document: document["process"].update(fields)


def _linux(**fields: Any) -> Any:
    return lambda document: document["linux"].update(fields)


@pytest.mark.parametrize(
    ("change", "script", "said"),
    [
        (_process(user={"uid": 0, "gid": 0, "umask": 0o27}), "umask", "0027"),
        (_process(user={"uid": 1, "gid": 2, "additionalGids": [3, 4]}), "id -u; id -g; id -G", "1 2 2 3 4"),
        (_process(user={"uid": 1, "gid": 2}), "grep Groups /proc/self/status", "Groups:"),
        (_process(env=["A=1", "B=2", "A=3", "HOME="]), "echo $A $B $HOME; env | grep -c A=", "3 2 /root 1"),
        (_process(ioPriority={"class": "IOPRIO_CLASS_IDLE"}), "ionice -p $$", "idle"),
        # proc_pid_stat(5): nice, policy; SCHED_BATCH is 3
        (
            _process(scheduler={"policy": "SCHED_BATCH", "nice": 5}),
            "read -r stat < /proc/self/stat; set -- $stat; echo ${19} ${41}",
            "5 3",
        ),
        (_process(oomScoreAdj=321), "cat /proc/self/oom_score_adj", "321"),
        (_process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 7, "hard": 9}]), "ulimit -Sn; ulimit -Hn", "7 9"),
        (_process(noNewPrivileges=False), "grep NoNewPrivs /proc/self/status", "NoNewPrivs: 0"),
        (_linux(personality={"domain": "LINUX32"}), "uname -m", "i686"),
        (_linux(sysctl={"kernel.msgmax": "9000"}), "cat /proc/sys/kernel/msgmax", "9000"),
        (
            _linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0"}),
            "grep -q bind:0 /proc/self/numa_maps && echo bound",
            "bound",
        ),
    ],
)
def test_a_field_is_what_the_program_finds(runtime: Runtime, change: Any, script: str, said: str) -> None:
    if "personality" in str(change) and os.uname().machine != "x86_64":
        pytest.skip("what a 32 bit personality is called differs")
    if "numa_maps" in script and not Path("/proc/self/numa_maps").exists():
        pytest.skip("a kernel without CONFIG_NUMA")
    bundle = runtime.bundle("sh", "-c", script, change=change)
    done = runtime("run", "--bundle", bundle, runtime.name(), fails=True)
    if "not found" in done.stderr:
        pytest.skip(done.stderr)  # an applet that this machine's busybox has not
    assert " ".join(done.stdout.split()) == said, done


def test_unknown_capabilities_are_told_and_left_out(runtime: Runtime) -> None:
    sets = {kind: ["CAP_KILL", "CAP_TIME_TRAVEL"] for kind in ("bounding", "effective", "permitted")}
    script = "grep CapEff /proc/self/status"
    bundle = runtime.bundle("sh", "-c", script, change=_process(capabilities=sets))
    done = runtime("run", "--bundle", bundle, runtime.name())
    assert done.stdout.split() == ["CapEff:", f"{1 << 5:016x}"]
    assert done.stderr.count("CAP_TIME_TRAVEL") == 1

    def shared(document: dict[str, Any]) -> None:
        document["process"]["capabilities"] = sets
        document["linux"]["namespaces"] = [one for one in document["linux"]["namespaces"] if one["type"] != "pid"]

    done = runtime("run", "--bundle", runtime.bundle("true", change=shared), runtime.name())
    assert done.stderr.count("CAP_TIME_TRAVEL") == 1, "told once, though our interpreter starts twice"


@pytest.mark.parametrize(
    ("name", "kept"), [("kernel.msgmax", "network"), ("net.ipv4.ip_forward", "ipc"), ("vm.swappiness", "ipc")]
)
def test_a_sysctl_that_would_be_the_host_s_is_refused(runtime: Runtime, name: str, kept: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["linux"]["sysctl"] = {name: "1"}
        spaces = document["linux"]["namespaces"]
        document["linux"]["namespaces"] = [
            one for one in spaces if one["type"] not in {"ipc", "network"} - {kept if name != "vm.swappiness" else ""}
        ]

    done = runtime("run", "--bundle", runtime.bundle(change=change), runtime.name(), fails=True)
    assert done.returncode == 1
    assert name in done.stderr


def test_a_program_runs_on_all_cpus_whatever_its_caller_is_bound_to(runtime: Runtime) -> None:
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("one CPU says nothing")
    script = "grep Cpus_allowed_list /proc/self/status"
    bound = ["taskset", "-c", str(min(cpus)), *runtime.command("run", "--bundle")]
    done = runtime.plain([*bound, str(runtime.bundle("sh", "-c", script)), runtime.name()])
    assert done.returncode == 0, done.stderr
    free = runtime("run", "--bundle", runtime.bundle("sh", "-c", script), runtime.name())
    assert done.stdout == free.stdout


def test_an_exec_gets_the_cpus_that_are_said(runtime: Runtime) -> None:
    last = max(os.sched_getaffinity(0))
    name = runtime.create(runtime.bundle("sleep", "1000", change=_process(execCPUAffinity={"final": str(last)})))
    done = runtime("exec", name, "grep", "Cpus_allowed_list", "/proc/self/status")
    assert done.stdout.split() == ["Cpus_allowed_list:", str(last)]


def test_limits_that_a_group_has_no_field_for_are_written_as_they_stand(runtime: Runtime) -> None:
    change = _linux(resources={"unified": {"memory.high": "64000000"}})
    done = runtime("run", "--bundle", runtime.bundle(change=change), runtime.name(), fails=True)
    if cgroups.version() == "1":
        assert done.returncode == 1
        assert "needs cgroup v2" in done.stderr
    else:
        assert done.returncode == 0


@pytest.mark.parametrize("name", ["../x", "a/b.max", "nodot"])
def test_no_other_file_is_written_by_them(runtime: Runtime, name: str) -> None:
    change = _linux(resources={"unified": {name: "1"}})
    assert runtime("run", "--bundle", runtime.bundle(change=change), runtime.name(), fails=True).returncode == 1


def test_hooks_inside_have_the_program_s_environment_and_are_not_executed_by_python(runtime: Runtime) -> None:
    def change(document: dict[str, Any]) -> None:
        said = "echo $A $HOME; readlink /proc/$PPID/exe; exit 3"
        document["process"]["env"].append("A=b")
        document["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", said]}]}

    done = runtime("run", "--bundle", runtime.bundle(change=change), runtime.name(), fails=True)
    assert "error running startContainer hook #0: exit status 3, stdout: b /root" in done.stderr

    def itself(document: dict[str, Any]) -> None:
        # CVE-2019-5736 by a hook: the program is a link to whatever executes it.
        said = "print('python'); raise SystemExit(3)"  # of a hook that does well nothing is told
        document["hooks"] = {"startContainer": [{"path": "/proc/self/exe", "args": ["x", "-c", said]}]}

    done = runtime("run", "--bundle", runtime.bundle(change=itself), runtime.name(), fails=True)
    assert "error running startContainer hook #0" in done.stderr
    assert "python" not in done.stderr


def test_a_failing_poststop_hook_is_told_and_the_next_runs(runtime: Runtime) -> None:
    seen = runtime.folder / "seen"

    def change(document: dict[str, Any]) -> None:
        touch = {"path": "/bin/touch", "args": ["touch", str(seen)]}
        document["hooks"] = {"poststop": [{"path": "/bin/false"}, touch]}

    done = runtime("run", "--bundle", runtime.bundle(change=change), runtime.name())
    assert "error running poststop hook #0: exit status 1" in done.stderr
    assert seen.exists()


def test_a_new_network_has_its_loopback_up(runtime: Runtime) -> None:
    done = runtime("run", "--bundle", runtime.bundle("cat", "/sys/class/net/lo/flags"), runtime.name())
    assert int(done.stdout, 16) & 1


def test_a_failing_poststart_hook_ends_the_container(runtime: Runtime) -> None:
    def change(document: dict[str, Any]) -> None:
        document["hooks"] = {"poststart": [{"path": "/bin/false"}]}

    name = runtime.create(runtime.bundle("sleep", "1000", change=change))
    assert "error running poststart hook #0" in runtime("start", name, fails=True).stderr
    assert "does not exist" in runtime("state", name, fails=True).stderr


def test_a_create_that_is_killed_leaves_nothing_that_delete_does_not_find(runtime: Runtime) -> None:
    bundle = runtime.bundle("sleep", "1000")
    for step in range(24):
        name = runtime.name()
        null = subprocess.DEVNULL
        with subprocess.Popen(
            runtime.command("create", "--bundle", bundle, name), stdin=null, stdout=null, stderr=null
        ) as creating:
            time.sleep(step * 0.004)
            creating.kill()
        runtime("delete", "--force", name)
        assert not (runtime.root / name).exists()
        assert [left for place in ("", "*/") for left in Path("/sys/fs/cgroup").glob(f"{place}dosirak/{name}")] == []


def test_the_state_of_a_container_is_the_spec_s(runtime: Runtime) -> None:
    name = runtime.create(runtime.bundle(change=lambda document: document.update(annotations={"a": "b"})))
    found = json.loads(runtime("state", name).stdout)
    assert found.keys() == {
        *("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"),
    }
