"""linux.seccomp and linux.resources.devices of a document: for a container's first process, and those that join it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from dosirak.engine.runtime import defaults
from dosirak.engine.runtime.seccomp import Filter, Filters, profile
from dosirak.engine.supervision.model import Restart
from support.bundles import Box, ended, until

STATUS = "grep -E '^(Seccomp|CapPrm|NoNew)' /proc/self/status"


def default_filter(tmp_path: Path, *capabilities: str) -> Filter:
    found = Filters(tmp_path).compile(profile.default(), {*defaults.DEFAULT_CAPABILITIES, *capabilities})
    assert found is not None
    return found


def filter_of(tmp_path: Path, *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW") -> Filter:
    return Filters(tmp_path).load(json.dumps({"defaultAction": default, "syscalls": list(rules)}).encode())


def refuse(*names: str, errno: int = 1) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": errno}


def with_filter(found: Filter) -> dict[str, Any]:
    """Options of `Box.run`: the document says what the descriptor is."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["seccomp"] = json.loads(found.document)

    return {"change": change, "options": {"filter": found}}


@pytest.mark.parametrize("user", ["", "1000"])
@pytest.mark.parametrize("no_new_privileges", [False, True])
async def test_the_filter_holds_for_run_and_exec(box: Box, tmp_path: Path, user: str, no_new_privileges: bool) -> None:
    found = default_filter(tmp_path)
    process = {"user": user, "noNewPrivileges": no_new_privileges}
    script = f"{STATUS}; unshare -m true 2>&1; true"
    first = await box.run(script, **with_filter(found), **process)
    started = await box.start("sleep 60", **with_filter(found), **process)
    task, wire = await box.exec_start(started, script, filter=found)
    await ended(task)
    joined = (await wire.all()).decode(errors="replace")
    for said in (first.out, joined):
        assert "Seccomp:\t2" in said
        assert f"NoNewPrivs:\t{int(no_new_privileges)}" in said
        assert "not permitted" in said
        # What was kept to load the filter is gone.
        assert f"CapPrm:\t{'0' * 16 if user else '00000000a80425fb'}" in said


async def test_without_a_filter_the_same_calls_go_through(box: Box) -> None:
    granted = [*defaults.DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"]
    result = await box.run(
        "unshare -m true && echo through", capabilities=dict.fromkeys(("bounding", "permitted"), granted)
    )
    assert result.out == "through\n"


async def test_a_document_with_a_filter_never_starts_without_it(box: Box, tmp_path: Path) -> None:
    found = default_filter(tmp_path)
    with pytest.raises(StartFailed, match="no compiled filter"):
        await box.run("true", change=with_filter(found)["change"])
    started = await box.start("sleep 60", **with_filter(found))
    with pytest.raises(StartFailed, match="no compiled filter"):
        await box.exec_start(started, "true")


async def test_a_restart_has_the_filter_too(box: Box, tmp_path: Path) -> None:
    found = with_filter(default_filter(tmp_path))
    found["options"]["restart"] = Restart("on-failure", 1)
    started = await box.start("grep Seccomp: /proc/self/status; false", **found)
    await ended(started.task)
    await until(lambda: started.bundle.logged().count("Seccomp:\t2") == 2, "two runs under the filter")


async def test_a_filter_needs_to_allow_nothing_for_our_sake(box: Box, tmp_path: Path) -> None:
    # All that stands between the filter and the program is execve.
    ours = ("capset", "capget", "prctl", "setgroups", "setresuid", "setresgid", "chdir", "getcwd", "umask", "seccomp")
    found = filter_of(tmp_path, refuse(*ours, "setsid", "openat2", "close_range", "newfstatat", "faccessat", "dup2"))
    result = await box.run(["/bin/true"], **with_filter(found))
    assert result.code == 0, result.err


async def test_a_filter_that_refuses_execve_is_a_failed_start(box: Box, tmp_path: Path) -> None:
    found = filter_of(tmp_path, refuse("execve", errno=13))
    with pytest.raises(StartFailed, match="permission denied"):
        await box.run(["/bin/true"], **with_filter(found))


async def test_a_filter_that_kills_at_execve_is_an_end_by_sigsys(box: Box, tmp_path: Path) -> None:
    found = filter_of(tmp_path, {"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"})
    result = await box.run(["/bin/true"], **with_filter(found))
    assert result.code == 128 + 31


DEVICES = "mknod /tmp/d c 10 183; mknod /tmp/n c 1 3; head -c 1 /tmp/d 2>&1 | head -c 99; echo ok > /tmp/n && echo null"


async def test_device_rules_hold_for_run_and_exec(box: Box) -> None:
    resources = {"devices": defaults.DEVICE_RULES}
    result = await box.run(DEVICES, resources=resources)
    started = await box.start("sleep 60", resources=resources)
    joined = await box.exec(started, DEVICES)
    for said in (result.out, joined.out):
        assert "not permitted" in said
        assert said.endswith("null\n")


async def test_a_device_rule_more_opens_one_device(box: Box) -> None:
    more = {"allow": True, "type": "c", "major": 10, "minor": 183, "access": "r"}
    result = await box.run(DEVICES, resources={"devices": [*defaults.DEVICE_RULES, more]})
    assert "not permitted" not in result.out
