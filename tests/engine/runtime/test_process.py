"""What a container's process is: its user, privileges, limits, environment, descriptors."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.errors import StartFailed
from support.bundles import Box

Python = Callable[[str], list[str]]

DOCKERS = "00000000a80425fb"
NONE = "0000000000000000"
STATUS = "cat /proc/self/status"
ROOT_SETS = {"CapInh": NONE, "CapPrm": DOCKERS, "CapEff": DOCKERS, "CapBnd": DOCKERS, "CapAmb": NONE}
USER_SETS = {"CapInh": NONE, "CapPrm": NONE, "CapEff": NONE, "CapBnd": DOCKERS, "CapAmb": NONE}


def sets(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


# Privileges


@pytest.mark.parametrize(
    ("user", "expected"), [("", ROOT_SETS), ("root", ROOT_SETS), ("user", USER_SETS), ("1234", USER_SETS)]
)
async def test_capabilities_are_dockers_in_run_and_exec(box: Box, user: str, expected: dict[str, str]) -> None:
    started = await box.start(f"{STATUS}; exec sleep 60", user=user)
    await started.wire.until(b"nonvoluntary_ctxt_switches")
    own = dict(line.split(":\t")[:2] for line in started.wire.data[8:].decode().splitlines() if line.startswith("Cap"))
    assert sets(own) == expected
    assert sets((await box.exec(started, STATUS)).fields()) == expected
    other = await box.exec(started, STATUS, user={"username": "user"})
    assert sets(other.fields()) == USER_SETS
    other = await box.exec(started, STATUS, user={"username": "0"})
    assert sets(other.fields()) == ROOT_SETS


async def test_a_user_without_capabilities_can_not_do_what_root_may(box: Box) -> None:
    script = "id -u; cat /etc/secret; chown 5 /tmp/x; mknod /tmp/n c 1 3; hostname evil; kill -0 1; echo $?"
    layer = box.layer(etc__secret="secret")
    (layer / "etc/secret").chmod(0o600)
    result = await box.run(script, lower=[layer], user="user")
    assert result.out.split() == ["1000", "0"]
    assert result.err.count("denied") + result.err.count("not permitted") >= 3


async def test_root_without_capabilities_is_no_root(box: Box) -> None:
    result = await box.run(STATUS + "; chown 5 /tmp", capabilities={})
    assert sets(result.fields()) == dict.fromkeys(ROOT_SETS, NONE)
    assert "not permitted" in result.err


async def test_capabilities_as_asked_ambient_ones_too(box: Box) -> None:
    granted = ["CAP_NET_ADMIN", "CAP_CHOWN"]
    asked = dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), granted)
    result = await box.run(
        STATUS, change=lambda spec: spec["process"].update(user={"uid": 1000, "gid": 1000}), capabilities=asked
    )
    assert sets(result.fields()) == dict.fromkeys(ROOT_SETS, f"{1 << 12 | 1:016x}")


async def test_an_unknown_capability_is_an_error_not_a_hang(box: Box) -> None:
    with pytest.raises(StartFailed, match="CAP_FLY"):
        await box.run("true", capabilities={"bounding": ["CAP_FLY"]})


@pytest.mark.parametrize("on", [False, True])
async def test_no_new_privileges_holds_for_run_and_exec(box: Box, on: bool) -> None:
    started = await box.start(f"{STATUS}; exec sleep 60", noNewPrivileges=on)
    assert f"NoNewPrivs:\t{int(on)}\n".encode() in await started.wire.until(b"Seccomp:")
    assert (await box.exec(started, STATUS)).fields()["NoNewPrivs"] == str(int(on))


async def test_setuid_works_and_no_new_privileges_stops_it(
    box: Box, python: Python, python_mounts: list[dict[str, Any]]
) -> None:
    script = "import os; print(os.getresuid())"
    command = python(script)
    layer = box.layer(prog=None)
    (layer / "prog").rmdir()
    (layer / "prog").write_bytes(Path(command[0]).read_bytes())
    (layer / "prog").chmod(0o4755)
    bundle = {"lower": [layer], "user": "user", "mounts": python_mounts}
    plain = await box.run(["/prog", *command[1:]], **bundle)
    assert plain.out == "(1000, 0, 0)\n", plain.err  # the control
    held = await box.run(
        ["/prog", *command[1:]], lower=[layer], user="user", mounts=python_mounts, noNewPrivileges=True
    )
    assert held.out == "(1000, 1000, 1000)\n"


async def test_users_and_groups(box: Box) -> None:
    assert (await box.run("id", user="user")).out == "uid=1000(user) gid=1000(user) groups=29(audio),1000(user)\n"
    assert (await box.run("id", user="1000:29")).out == "uid=1000(user) gid=29(audio) groups=29(audio)\n"
    assert (await box.run("id -G", user="5:6")).out == "6\n"
    more = await box.run(
        "id -G", user="user", change=lambda spec: spec.update(annotations={"dosirak.groups": "audio,77"})
    )
    assert more.out == "1000 29 77\n"


async def test_nothing_of_the_engines_groups_is_left(box: Box) -> None:
    for user in ("", "user", "1234"):
        groups = (await box.run(STATUS, user=user)).fields()["Groups"].split()
        assert groups == {"": ["0"], "user": ["29", "1000"], "1234": ["0"]}[user]


async def test_home_is_the_users_unless_given(box: Box) -> None:
    assert (await box.run("echo $HOME", user="user")).out == "/home/user\n"
    assert (await box.run("echo $HOME")).out == "/root\n"
    assert (await box.run("echo $HOME", user="4321")).out == "/\n"
    assert (await box.run("echo $HOME", env=["PATH=/bin", "HOME=/x"])).out == "/x\n"
    started = await box.start(["sleep", "60"])
    assert (await box.exec(started, "echo $HOME", user={"username": "user"})).out == "/home/user\n"


# Settings


async def test_the_environment_is_what_the_document_says(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_ENGINE", "1")
    env = ["PATH=/bin", "A=1", "B=two words", "C=", "D=x=y", "E=line\nline", "PYTHONPATH=/evil", "LD_PRELOAD=/evil.so"]
    result = await box.run(["cat", "/proc/self/environ"], env=env)
    assert result.out == "".join(f"{item}\0" for item in [*env, "HOME=/root"])


async def test_duplicates_and_order_of_the_environment_are_kept(box: Box) -> None:
    result = await box.run(["cat", "/proc/self/environ"], env=["PATH=/bin", "X=1", "X=2", "HOME=/"])
    assert result.out == "PATH=/bin\0X=1\0X=2\0HOME=/\0"


async def test_only_three_descriptors(box: Box) -> None:
    for tty in (False, True):
        result = await box.run(["ls", "/proc/self/fd"], tty=tty)
        assert result.out.split() == ["0", "1", "2", "3"], "3 is ls's own"
    started = await box.start(["sleep", "60"])
    assert (await box.exec(started, ["ls", "/proc/self/fd"])).out.split() == ["0", "1", "2", "3"]
    assert (await box.exec(started, ["ls", "/proc/1/fd"])).out.split() == ["0", "1", "2"]


async def test_signals_are_at_their_defaults_and_unblocked(box: Box) -> None:
    started = await box.start(f"{STATUS}; exec sleep 60")
    await started.wire.until(b"nonvoluntary")
    exec_fields = (await box.exec(started, ["cat", "/proc/self/status"])).fields()
    run_fields = (await box.run(["cat", "/proc/self/status"])).fields()
    for fields in (exec_fields, run_fields):
        assert {name: fields[name] for name in ("SigIgn", "SigBlk", "SigCgt")} == {
            "SigIgn": NONE,
            "SigBlk": NONE,
            "SigCgt": NONE,
        }


async def test_an_engine_that_ignores_signals_does_not_hand_that_on(busybox_root: Path, tmp_path: Path) -> None:
    """Started under nohup, or by something that blocks signals."""
    (tmp_path / "box").mkdir()
    program = textwrap.dedent(f"""
        import asyncio, signal, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from support.bundles import Box
        from dosirak.engine.supervision.client import Launcher
        for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, 40):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, 50])
        async def main():
            launcher = Launcher()
            await launcher.start()
            box = Box(Path({str(tmp_path / "box")!r}), Path({str(busybox_root)!r}), launcher)
            print((await box.run(["grep", "Sig", "/proc/self/status"])).out)
            await box.close()
            await launcher.close()
        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    fields = dict(line.split(":\t") for line in done.stdout.split("\n") if line)
    assert (fields["SigIgn"], fields["SigBlk"]) == (NONE, NONE), done.stderr


async def test_umask(box: Box) -> None:
    assert (await box.run("umask")).out == "0022\n"
    assert (await box.run("umask", change=lambda spec: spec["process"]["user"].update(umask=0o77))).out == "0077\n"
    assert (await box.run("umask", change=lambda spec: spec["process"]["user"].update(umask=0))).out == "0000\n"


async def test_limits(box: Box) -> None:
    rlimits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": (1 << 64) - 1},
    ]
    result = await box.run("cat /proc/self/limits", rlimits=rlimits)
    found = {line[:25].strip(): line[25:].split()[:2] for line in result.out.splitlines()}
    assert found["Max open files"] == ["100", "200"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max stack size"] == [str(1 << 20), "unlimited"]
    with pytest.raises(StartFailed, match="RLIMIT_FLY"):
        await box.run("true", rlimits=[{"type": "RLIMIT_FLY", "soft": 1, "hard": 1}])
    with pytest.raises(StartFailed, match="RLIMIT_NOFILE"):
        await box.run("true", rlimits=[{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}])


async def test_out_of_memory_score(box: Box) -> None:
    assert (await box.run("cat /proc/self/oom_score_adj")).out == "0\n"
    started = await box.start("cat /proc/self/oom_score_adj; exec sleep 60", oomScoreAdj=300)
    await started.wire.until(b"300\n")
    assert (await box.exec(started, "cat /proc/self/oom_score_adj")).out == "300\n"


async def test_a_session_keyring_of_its_own(box: Box, python: Python, python_mounts: list[dict[str, Any]]) -> None:
    """A key added in one container is not found in another, nor is there the engine's."""
    script = textwrap.dedent("""
        import ctypes
        call = ctypes.CDLL(None, use_errno=True).syscall
        get = lambda: call(250, 0, -3, 0)            # KEYCTL_GET_KEYRING_ID of the session keyring
        key = call(248, b"user", b"dosirak-test", b"secret", 6, -3)
        print(get(), call(250, 10, -3, b"user", b"dosirak-test", 0) == key)
    """)
    search = textwrap.dedent("""
        import ctypes
        call = ctypes.CDLL(None).syscall
        print(call(250, 0, -3, 0), call(250, 10, -3, b"user", b"dosirak-test", 0))
    """)
    first = await box.run(python(script), mounts=python_mounts)
    ring, found = first.out.split()
    assert found == "True"
    other, found = (await box.run(python(search), mounts=python_mounts)).out.split()
    assert (found, other != ring) == ("-1", True)
    started = await box.start(["sleep", "60"], mounts=python_mounts)
    third, found = (await box.exec(started, python(search))).out.split()
    assert (found, third not in (ring, other)) == ("-1", True)


async def test_a_process_leads_a_session_of_its_own(box: Box) -> None:
    result = await box.run("cut -d' ' -f1,4,5,6 /proc/1/stat")
    assert result.out == "1 0 1 1\n"
