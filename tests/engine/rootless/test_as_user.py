"""An ordinary user's engine, in the suite that root runs: `test_user` as that user, in a session of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.engines import BASE_VARIABLE
from support.patience import patient
from support.rootless import UID, VARIABLE

TESTS = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.geteuid() != 0 or VARIABLE in os.environ, reason="only root can become somebody else")
@pytest.mark.skipif(
    not all(shutil.which(name) for name in ("newuidmap", "newgidmap", "pasta", "docker")),
    reason="needs newuidmap, pasta (Debian: uidmap passt) and the docker command",
)
@pytest.mark.timeout(patient(300))
def test_an_ordinary_users_engine_does_what_roots_does() -> None:
    # Not as a worker of this session, nor with its folder.
    session = {name: os.environ[name] for name in os.environ if name != BASE_VARIABLE and "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "support.rootless", "outside", "-q", TESTS / "engine/rootless/test_user.py"],
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        env={**session, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or VARIABLE in os.environ, reason="only root can become somebody else")
@pytest.mark.skipif(not all(map(shutil.which, ("make", "newuidmap", "pasta"))), reason="needs make, newuidmap, pasta")
def test_make_asks_a_user_for_two_packages_and_not_for_root(tmp_path: Path) -> None:
    shutil.copy(TESTS.parent / "Makefile", tmp_path)
    few = tmp_path / "bin"
    few.mkdir()
    (few / "id").symlink_to(str(shutil.which("id")))
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)

    def able(path: str) -> subprocess.CompletedProcess[str]:
        command = [str(shutil.which("make")), "-s", "able", "MAKECMDGOALS=demo"]
        options = {"user": UID, "group": UID, "extra_groups": (), "cwd": tmp_path, "env": {"PATH": path}}
        return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]

    assert able(os.environ["PATH"]).returncode == 0
    lacking = able(str(few))
    assert lacking.returncode
    assert "sudo apt-get install uidmap passt" in lacking.stderr
