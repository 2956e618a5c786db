"""`--cidfile` and `--pull` of `create` and `run`: what they do, and what the docker CLI does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dosirak.magics.errors import DosirakError
from support import registries
from support.engines import Engine
from support.registries import Registry
from support.rootfs import busybox_tar

COMMAND = Path(sys.executable).with_name("dosirak")
Done = subprocess.CompletedProcess[str]


@pytest.fixture(params=["docker", "dosirak"])
def cli(request: pytest.FixtureRequest, engine: Engine, busybox: str, docker: Any) -> Callable[..., Done]:
    """Both command lines in turn."""
    program = str(COMMAND) if request.param == "dosirak" else "docker"

    def run(*arguments: str | Path) -> Done:
        command = [program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=engine.environment(), timeout=60)

    return run


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    with registries.running() as found:
        yield found


def test_a_cidfile_has_the_id_or_is_not_there(cli: Callable[..., Done], tmp_path: Path) -> None:
    place = tmp_path / "cid"
    created = cli("create", "--cidfile", place, "busybox", "true")
    assert place.read_text() == created.stdout.strip()
    again = cli("run", "--cidfile", place, "busybox", "true")
    assert again.returncode == 125
    assert f"container ID file found, make sure the other container isn't running or delete {place}" in again.stderr
    place.unlink()
    failed = cli("create", "--cidfile", place, "--pull", "never", "nosuch")
    assert (failed.returncode, place.exists()) == (1, False)
    assert "Error response from daemon: No such image: nosuch:latest" in failed.stderr
    before = cli("ps", "-aq").stdout
    nowhere = cli("create", "--cidfile", tmp_path / "no/where", "busybox")
    assert nowhere.returncode == 1
    assert f"failed to create the container ID file: open {tmp_path}/no/where: no such file" in nowhere.stderr
    assert cli("ps", "-aq").stdout == before


def test_a_cell_s_container_writes_its_cidfile_too(magic: Any, tmp_path: Path) -> None:
    made = magic("container", f"run -d --cidfile {tmp_path}/cid busybox sleep 100")
    assert (tmp_path / "cid").read_text() == made.id
    with pytest.raises(DosirakError, match="container ID file found"):
        magic("container", f"create --cidfile {tmp_path}/cid busybox")


def test_pull_says_when_an_image_is_asked_for(cli: Callable[..., Done], registry: Registry) -> None:
    name = f"{registry.address}/asked:1"
    registry.image("asked:1", [busybox_tar()], config={"Labels": {"at": "first"}})
    never = cli("run", "--rm", "--pull", "never", name, "true")
    assert never.returncode == 125
    assert f"No such image: {name}" in never.stderr
    missing = cli("run", "--rm", name, "echo", "ran")
    assert (missing.returncode, missing.stdout) == (0, "ran\n")
    assert f"Unable to find image '{name}' locally" in missing.stderr
    registry.image("asked:1", [busybox_tar()], config={"Labels": {"at": "second"}})
    label = ("image", "inspect", "-f", '{{index .Config.Labels "at"}}', name)
    assert cli("run", "--rm", "--pull", "missing", name, "true").stderr == ""
    assert cli("run", "--rm", "--pull", "never", name, "true").stderr == ""
    assert cli(*label).stdout == "first\n"
    always = cli("run", "--rm", "--pull", "always", name, "true")
    assert (always.returncode, cli(*label).stdout) == (0, "second\n")
    assert "Unable to find" not in always.stderr
    assert "Pulling from asked" in always.stderr
    assert "Pulling" not in cli("run", "--rm", "--quiet", "--pull", "always", name, "true").stderr
    wrong = cli("run", "--pull", "sometimes", name)
    assert wrong.returncode == 125
    assert """invalid pull option: 'sometimes': must be one of "always", "missing" or "never\"""" in wrong.stderr
    cli("rmi", name)
