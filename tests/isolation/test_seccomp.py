"""`--security-opt seccomp=`: every action does what it is called, and a listener is asked."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine
from support.listeners import Listener

from .conftest import Box


def profile(path: Path, *rules: dict[str, Any], **rest: Any) -> str:
    """The option of `docker run` for a profile that allows all but what its rules say."""
    path.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, **rest}))
    return f"seccomp={path}"


MKDIR = ["mkdir", "mkdirat"]


@pytest.mark.parametrize(
    ("action", "number", "code", "said"),
    [
        ("SCMP_ACT_ERRNO", None, 1, "Operation not permitted"),
        ("SCMP_ACT_ERRNO", errno.EDOM, 1, "Numerical argument out of domain"),
        ("SCMP_ACT_KILL", None, 128 + 31, ""),
        ("SCMP_ACT_KILL_THREAD", None, 128 + 31, ""),
        ("SCMP_ACT_KILL_PROCESS", None, 128 + 31, ""),
        ("SCMP_ACT_TRAP", None, 128 + 31, ""),
        ("SCMP_ACT_TRACE", None, 1, "Function not implemented"),  # nobody traces
        ("SCMP_ACT_LOG", None, 0, ""),
        ("SCMP_ACT_ALLOW", None, 0, ""),
    ],
)
def test_an_action_does_what_it_is_called(
    engine: Engine, busybox: str, tmp_path: Path, action: str, number: int | None, code: int, said: str
) -> None:
    rule = {"names": MKDIR, "action": action, "errnoRet": number}
    option = profile(tmp_path / "profile", {name: value for name, value in rule.items() if value is not None})
    done = engine.docker("run", "--rm", "--security-opt", option, busybox, "mkdir", "/made", check=False)
    assert done.returncode == code
    assert said in done.stderr


def test_the_default_may_be_any_error(engine: Engine, busybox: str, tmp_path: Path) -> None:
    default = json.loads((Path(__file__).parents[2] / "engine/runtime/seccomp/default.json").read_text())
    default["defaultErrnoRet"] = errno.EDOM
    (tmp_path / "profile").write_text(json.dumps(default))
    option = f"seccomp={tmp_path / 'profile'}"
    done = engine.docker("run", "--rm", "--security-opt", option, busybox, "unshare", "-u", "true", check=False)
    assert "Numerical argument out of domain" in done.stderr


@pytest.mark.parametrize(
    "flags", [[], ["SECCOMP_FILTER_FLAG_LOG"], ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]]
)
def test_flags_of_a_filter_are_taken(box: Callable[..., Box], tmp_path: Path, flags: list[str]) -> None:
    option = profile(tmp_path / "profile", {"names": MKDIR, "action": "SCMP_ACT_ERRNO"}, flags=flags)
    assert "not permitted" in box("--security-opt", option).sh("mkdir /made", check=False)


@pytest.mark.parametrize("flags", [(), ("--user", "1000"), ("--security-opt", "no-new-privileges"), ("--init",)])
def test_a_listener_is_asked_and_answers(box: Callable[..., Box], tmp_path: Path, flags: tuple[str, ...]) -> None:
    rules = {"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}
    with Listener(tmp_path / "listener", errno.EDOM) as listener:
        option = profile(tmp_path / "profile", rules, listenerPath=str(listener.path), listenerMetadata="who asks")
        container = box("--security-opt", option, "--annotation", "a=b", *flags)
        (first,) = listener.come(1)
        assert first["fds"] == ["seccompFd"]
        assert first["metadata"] == "who asks"
        assert first["pid"] == first["state"]["pid"] == container.pid
        assert (first["state"]["id"], first["state"]["status"]) == (container.id, "creating")
        assert os.path.basename(first["state"]["bundle"]) == container.id
        assert first["state"]["annotations"]["a"] == "b"
        assert "Numerical argument out of domain" in container.sh("mkdir /tmp/made", check=False)
        assert listener.asked == 1
        _, joined = listener.come(2)
        assert joined["state"]["status"] == "running"
        assert joined["pid"] != joined["state"]["pid"] == container.pid


def test_a_restart_asks_the_listener_again(box: Callable[..., Box], tmp_path: Path) -> None:
    rules = {"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}
    with Listener(tmp_path / "listener", errno.EDOM) as listener:
        option = profile(tmp_path / "profile", rules, listenerPath=str(listener.path))
        container = box("--security-opt", option, "--restart", "always")
        os.kill(container.pid, 9)
        assert listener.come(2)[1]["state"]["id"] == container.id
    # Without anybody who listens there is no start.
    done = container.engine.docker("restart", "-t", "0", container.id, check=False)
    assert "connecting to the seccomp listener: connection refused" in done.stderr


@pytest.mark.parametrize(
    ("rules", "rest", "words"),
    [
        ([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}], {}, "seccomp listenerPath is not set"),
        (
            [],
            {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"},
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            [{"names": ["mkdir", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}],
            {"listenerPath": "/x"},
            "SCMP_ACT_NOTIFY needs a filter that allows sendmsg",
        ),
        ([{"names": ["mkdir"], "action": "SCMP_ACT_ASK"}], {}, 'unknown action "SCMP_ACT_ASK"'),
        ([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 << 20}], {}, "no such error number: 1048576"),
        ([], {"flags": ["SECCOMP_FILTER_FLAG_ODD"]}, 'unknown flag "SECCOMP_FILTER_FLAG_ODD"'),
    ],
)
def test_what_can_not_be_done_is_refused_before_the_start(
    engine: Engine, busybox: str, tmp_path: Path, rules: list[dict[str, Any]], rest: dict[str, Any], words: str
) -> None:
    option = profile(tmp_path / "profile", *rules, **rest)
    done = engine.docker("create", "--security-opt", option, busybox, check=False)
    assert words in done.stderr
