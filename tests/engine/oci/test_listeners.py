"""linux.seccomp.listenerPath: somebody else decides about a container's system calls."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.listeners import Listener

if TYPE_CHECKING:
    from conftest import Runtime

SAID = "Numerical argument out of domain"


def asking(path: Path, **more: Any) -> Any:
    def change(document: dict[str, Any]) -> None:
        rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]
        document["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(path),
            "listenerMetadata": "m",
            "syscalls": rules,
        }
        document |= more

    return change


@pytest.mark.parametrize("hooked", [False, True])
def test_it_is_asked_by_run_create_and_exec(runtime: Runtime, tmp_path: Path, hooked: bool) -> None:
    more = {"hooks": {"startContainer": [{"path": "/bin/true"}]}} if hooked else {}
    with Listener(tmp_path / "listener", errno.EDOM) as listener:
        change = asking(listener.path, **more)
        done = runtime("run", "--bundle", runtime.bundle("mkdir", "/tmp/x", change=change), runtime.name(), fails=True)
        assert SAID in done.stderr
        name = runtime.create(runtime.bundle("sleep", "1000", change=change))
        runtime("start", name)
        done = runtime("exec", name, "mkdir", "/tmp/x", fails=True)
        assert SAID in done.stderr
        assert listener.asked == 2
        _, created, joined = listener.come(3)
    pid = runtime.state(name)["pid"]
    for told, status in ((created, "creating"), (joined, "running")):
        assert told["fds"] == ["seccompFd"]
        assert (told["metadata"], told["state"]["id"], told["state"]["status"]) == ("m", name, status)
        assert told["state"]["pid"] == pid
    assert created["pid"] == pid != joined["pid"]


def test_descriptors_that_are_handed_on_stay_what_they_are(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "handed").write_text("handed on")
    with Listener(tmp_path / "listener", errno.EDOM) as listener, (tmp_path / "handed").open() as handed:
        bundle = runtime.bundle("sh", "-c", "cat <&3; mkdir /tmp/x", change=asking(listener.path))
        command = runtime.command("run", "--preserve-fds", "1", "--bundle", bundle, runtime.name())
        done = runtime.plain(["sh", "-c", f'exec "$@" 3< {handed.name}', "sh", *command])
        assert done.stdout == "handed on"
        assert SAID in done.stderr


def test_without_a_listener_there_is_no_start(runtime: Runtime, tmp_path: Path) -> None:
    bundle = runtime.bundle("true", change=asking(tmp_path / "nobody"))
    done = runtime("run", "--bundle", bundle, runtime.name(), fails=True)
    assert "connecting to the seccomp listener: no such file or directory" in done.stderr
