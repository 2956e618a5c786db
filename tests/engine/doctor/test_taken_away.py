"""The doctor on a host from which one thing was taken away for real: it says that, what it costs, and what to do."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import takeaway

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take things away")

USER = "34567"  # nobody's
PLAIN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def examine(*steps: str, **environment: str) -> dict[str, dict[str, str]]:
    """The findings by check, of a process for which these steps were taken; "" holds whether all is well."""
    done = subprocess.run(
        [sys.executable, takeaway.__file__, *steps, "--", sys.executable, "-P", "-m", "dosirak.engine.doctor"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**PLAIN, **environment},
        cwd="/",
    )
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if said["ok"] else 1)
    for finding in said["findings"]:
        assert finding["found"], finding
        assert finding["state"] == "ok" or (finding["cost"] and finding["remedy"]), finding
    assert said["ok"] == all(finding["state"] != "missing" for finding in said["findings"])
    return {"": {"state": "ok" if said["ok"] else "missing"}} | {one["check"]: one for one in said["findings"]}


def remedy(found: dict[str, dict[str, str]]) -> str:
    return found["subuid, subgid"]["remedy"]


def test_here_everything_that_is_necessary_is_there(tmp_path: Path) -> None:
    found = examine(DOSIRAK_ROOT=str(tmp_path))
    assert found[""]["state"] == "ok"
    assert found["overlay"]["found"].startswith("works on ")
    assert {"mount", "pid", "network", "ipc", "uts"} <= set(found["namespaces"]["found"].split(", "))
    assert list(tmp_path.iterdir()) == []


def test_control_groups_that_are_hidden_are_missing() -> None:
    found = examine("hide:/sys/fs/cgroup")
    assert (found["cgroups"]["state"], found["cgroups"]["found"]) == ("missing", "none")
    assert found[""]["state"] == "missing"


def test_settings_that_are_hidden_are_said_so() -> None:
    found = examine("hide:/proc/sys/net")
    assert found["ip_forward"]["state"] == "limited"
    assert "sysctl -w net.ipv4.ip_forward=1" in found["ip_forward"]["remedy"]


@pytest.mark.parametrize(
    ("step", "checks"),
    [
        ("refuse:unshare:EPERM", ["namespace mount", "namespace pid", "namespace network", "namespace user", "/proc"]),
        ("refuse:openat2:ENOSYS", ["system call openat2"]),
        ("refuse:pidfd_open:ENOSYS", ["system call pidfd_open"]),
        ("refuse:open_tree:ENOSYS", ["mounts", "idmapped mounts"]),
        ("refuse:mount_setattr:ENOSYS", ["mounts", "idmapped mounts"]),
        ("refuse:fsopen:ENOSYS", ["overlay"]),
        ("refuse:seccomp:EPERM", ["seccomp"]),
        ("refuse:socket:EAFNOSUPPORT", ["bridge, veth", "nf_tables"]),
    ],
)
def test_a_call_that_is_refused_costs_what_needs_it(step: str, checks: list[str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the filter's numbers are x86-64's")
    found = examine(step)
    words = os.strerror(getattr(errno, step.rpartition(":")[2]))
    assert found[""]["state"] == "missing"
    for check in checks:
        assert found[check]["state"] != "ok"
        if check != "nf_tables":  # libnftables has words of its own
            assert words in found[check]["found"]
    others = {check for check, finding in found.items() if finding["state"] == "missing"} - {""}
    assert others & set(checks)


def test_root_without_capabilities_is_told_how_its_container_should_run() -> None:
    found = examine("root_without_rights")
    assert found["machine"]["state"] == "missing"
    assert "without CAP_SYS_ADMIN" in found["machine"]["found"]


def test_a_folder_on_an_overlay_carries_no_further_one(tmp_path: Path) -> None:
    found = examine(f"on_overlay:{tmp_path}", DOSIRAK_ROOT=str(tmp_path / "merged/root"))
    assert found["overlay"]["state"] == "missing"
    assert "(on overlay)" in found["overlay"]["found"]
    assert "DOSIRAK_ROOT=" in found["overlay"]["remedy"]


def test_an_ordinary_user_without_ids_and_programs_is_told_to_get_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    found = examine("hide:/dev/net", f"become:{USER}", PATH="/nowhere", HOME=str(tmp_path))
    assert f"user {USER} (rootless)" in found["machine"]["found"]
    assert found["subuid, subgid"]["state"] == "limited"
    assert re.fullmatch(rf"echo {USER}:\d{{6,}}:65536 \| sudo tee -a /etc/subuid /etc/subgid", remedy(found))
    assert found["newuidmap"]["found"] == "not found: newuidmap, newgidmap"
    assert found["pasta"]["state"] == found["/dev/net/tun"]["state"] == "limited"
    assert found["overlay"]["found"].endswith("in a user namespace") or found["overlay"]["state"] == "missing"
    assert found["cgroups"]["state"] == "limited"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/etc/subuid").exists(), reason="nothing to show other ranges over")
def test_an_ordinary_user_with_ids_has_them() -> None:
    rows = f"{USER}:100000:65536"
    found = examine(f"show:/etc/subuid:{rows}", f"show:/etc/subgid:{rows}", f"become:{USER}")
    assert found["subuid, subgid"]["found"] == "65536 ids besides the own one"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000")],
)
def test_a_user_without_user_namespaces_is_told_which_setting_forbids_them(name: str, value: str, remedy: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the filter's numbers are x86-64's")
    found = examine(f"show:/proc/sys/{name}:{value}", f"become:{USER}", "refuse:unshare:ENOSPC")
    assert found["namespace user"]["state"] == "missing"
    assert remedy in found["namespace user"]["remedy"]
    assert "namespace mount" not in found  # it needs that one, which has been told


def test_root_of_a_user_namespace_is_whom_it_is_outside() -> None:
    found = examine(f"become:{USER}", "enter")
    assert found["machine"]["found"].endswith("root of a user namespace (rootless)")
    assert remedy(found).startswith(f"echo {USER}:")
    assert found["overlay"]["found"].endswith("in a user namespace") or found["overlay"]["state"] == "missing"
