"""An ordinary user who was handed a part of the control groups has limits: `test_limits` as that user, in there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosirak.engine.runtime.cgroups import v2
from support.engines import BASE_VARIABLE
from support.rootless import UID, VARIABLE

ROOT = Path("/sys/fs/cgroup")
TESTS = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or VARIABLE in os.environ, reason="only root can become somebody else"),
    pytest.mark.skipif(v2.detect() is None, reason="no cgroup v2 here (make test-v2 has one)"),
    pytest.mark.skipif(not all(map(shutil.which, ("newuidmap", "docker"))), reason="needs newuidmap and docker"),
]


@pytest.fixture
def handed() -> Iterator[Path]:
    """A group that is the user's, as systemd hands one to a login (systemd.io/CGROUP_DELEGATION), and one below it."""
    wanted = {"memory", "pids", "cpu"} & set((ROOT / "cgroup.controllers").read_text().split())
    before = set((ROOT / "cgroup.subtree_control").read_text().split())
    (ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    group = ROOT / "dosirak-test-user"
    (group / "session").mkdir(parents=True)
    for folder in (group, group / "session"):
        for file in (folder, *(folder / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(file, UID, UID)
    yield group / "session"
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    group.rmdir()
    (ROOT / "cgroup.subtree_control").write_text(" ".join(f"-{name}" for name in wanted - before))


def test_limits_of_a_users_containers_hold(handed: Path) -> None:
    session = {name: os.environ[name] for name in os.environ if name != BASE_VARIABLE and "PYTEST" not in name}
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    tests = TESTS / "engine/rootless/test_limits.py"
    done = subprocess.run(
        ["/bin/sh", "-c", enter, handed, sys.executable, "-m", "support.rootless", "outside", "-q", tests],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        env={**session, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "3 passed" in done.stdout
