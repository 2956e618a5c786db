"""Under systemd the engine and its containers live in a scope that it has handed to them."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import v2
from dosirak.engine.service import scope, systemd
from support.engines import Engine, wait_for

ROOT = Path("/sys/fs/cgroup")
under_systemd = pytest.mark.skipif(
    cgroups.version() != "2" or not Path("/run/systemd/system").is_dir(), reason="no systemd with cgroup v2 here"
)


def group_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::/")[2]


def start(engine: Engine) -> tuple[str, int]:
    """A container with a limit: its id and pid."""
    found = engine.docker("run", "-d", "-m", "32m", engine.import_busybox(), "sleep", "1000").stdout.strip()
    return found, engine.client.api.inspect_container(found)["State"]["Pid"]


@under_systemd
def test_the_engine_and_its_containers_are_in_a_scope_of_systemds(fresh_engine: Engine) -> None:
    before = (ROOT / "cgroup.subtree_control").read_text()
    container, pid = start(fresh_engine)
    engine = group_of(fresh_engine.pid)
    assert re.fullmatch(r"system\.slice/dosirak-[0-9a-f]{12}\.scope/engine", engine)
    scope = engine.removesuffix("/engine")
    assert group_of(pid) == f"{scope}/{container}"
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert group_of(monitor) == engine
    assert (ROOT / scope / container / "memory.max").read_text() == f"{32 << 20}\n"
    assert (ROOT / "cgroup.subtree_control").read_text() == before
    shown = subprocess.run(
        ["systemctl", "show", "-p", "Delegate,Slice,ActiveState,TasksMax", scope.rpartition("/")[2]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(shown.stdout.split()) == {
        "Delegate=yes",
        "Slice=system.slice",
        "ActiveState=active",
        "TasksMax=infinity",
    }
    assert "Cgroup Driver: cgroupfs\n Cgroup Version: 2" in fresh_engine.docker("info").stdout


@under_systemd
def test_a_killed_services_successor_comes_into_the_same_scope(fresh_engine: Engine) -> None:
    container, pid = start(fresh_engine)
    scope = group_of(fresh_engine.pid)
    fresh_engine.close_client()
    fresh_engine.kill()
    fresh_engine.start()
    assert group_of(fresh_engine.pid) == scope
    found = fresh_engine.client.api.inspect_container(container)["State"]
    assert (found["Pid"], found["Running"]) == (pid, True)
    fresh_engine.docker("rm", "-f", container)
    assert not (ROOT / scope / ".." / container).exists()


@under_systemd
def test_the_scope_goes_with_the_engine(fresh_engine: Engine) -> None:
    scope = ROOT / group_of(fresh_engine.pid).removesuffix("/engine")
    assert scope.is_dir()
    fresh_engine.stop()
    wait_for(lambda: not scope.exists(), 10, "systemd to end the scope")
    fresh_engine.start()


@pytest.fixture
def manager() -> Iterator[int]:
    """systemd's manager of an ordinary user, with its bus, without a login: the user's id."""
    user = pwd.getpwnam("nobody").pw_uid
    folder = Path(f"/run/user/{user}")
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    os.chown(folder, user, user)
    command = ["systemd-run", "--unit=test-manager", f"--uid={user}", f"--gid={user}", "-p", "Delegate=yes"]
    # By default it would bring everything up that a boot does, the emptying of /tmp included.
    command += ["-p", "DefaultDependencies=no", f"--setenv=XDG_RUNTIME_DIR={folder}"]
    command += ["/lib/systemd/systemd", "--user", "--unit=dbus.socket"]
    subprocess.run(command, check=True, capture_output=True)
    wait_for((folder / "bus").exists, 20, "the user's bus")
    yield user
    subprocess.run(["systemctl", "stop", "test-manager"], check=True)
    shutil.rmtree(folder)


@under_systemd
def test_a_users_engine_gets_a_scope_from_his_own_manager(
    manager: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/run/user/{manager}")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    read, write = os.pipe()
    if (child := os.fork()) == 0:  # a program of its own could not read this interpreter's files
        told: dict[str, object] = {}
        try:
            os.setgroups([])
            os.setresgid(manager, manager, manager)
            os.setresuid(manager, manager, manager)
            scope.enter(tmp_path)
            tree = v2.detect_delegated()
            assert tree is not None
            tree.make_parents("dosirak")
            tree.create("dosirak/one", {"memory": {"limit": 32 << 20}, "pids": {"limit": 7}})
            group = Path(tree.root, "dosirak/one")
            told = {"own": group_of(os.getpid()), "root": tree.root}
            told |= {name: (group / name).read_text().strip() for name in ("memory.max", "pids.max")}
        except BaseException as error:
            told["error"] = repr(error)
        finally:
            os.write(write, json.dumps(told).encode())
            os._exit(0)
    os.close(write)
    with open(read) as answer:
        told = json.load(answer)
    os.waitpid(child, 0)
    assert told.get("error") is None
    above = f"system.slice/test-manager.service/app.slice/{told['root'].rpartition('/')[2]}"
    assert told == {
        "own": f"{above}/engine",
        "root": f"/sys/fs/cgroup/{above}",
        "memory.max": str(32 << 20),
        "pids.max": "7",
    }


def test_without_a_bus_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nobody")
    with pytest.raises(systemd.Refused, match=r"^no bus: .*No such file"):
        systemd.move_into("dosirak-test.scope", "engine")
