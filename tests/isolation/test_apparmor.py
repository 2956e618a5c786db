"""A container's AppArmor profile, on a kernel that has AppArmor (`make test-v2` boots one)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dosirak.engine.containers.security import apparmor
from support.engines import Engine

from .conftest import Box

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
ENFORCED = f"{apparmor.DEFAULT} (enforce)"

pytestmark = pytest.mark.skipif(
    not apparmor.supported(ENABLED.read_text().strip() if ENABLED.exists() else ""), reason="no AppArmor here"
)


def profile(container: Box, pid: int | None = None) -> str:
    return Path(f"/proc/{pid or container.pid}/attr/current").read_text().strip()


def test_every_process_of_a_container_has_the_default_profile(box: Callable[..., Box], engine: Engine) -> None:
    container = box()
    assert profile(container) == ENFORCED
    assert container.sh("cat /proc/self/attr/current") == ENFORCED
    assert engine.client.api.inspect_container(container.id)["AppArmorProfile"] == apparmor.DEFAULT
    assert "name=apparmor" in engine.client.info()["SecurityOptions"]


def test_a_step_of_a_build_has_it_too(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nRUN cat /proc/self/attr/current > /profile\n")
    engine.docker("build", "-q", "-t", "confined", tmp_path)
    assert engine.docker("run", "--rm", "confined", "cat", "/profile").stdout.strip() == ENFORCED
    engine.docker("rmi", "-f", "confined")


@pytest.mark.parametrize("flags", [("--security-opt", "apparmor=unconfined"), ("--privileged",)])
def test_there_is_none_where_it_is_declined(box: Callable[..., Box], flags: tuple[str, ...]) -> None:
    container = box(*flags)
    assert profile(container) == "unconfined"
    assert container.sh("cat /proc/self/attr/current") == "unconfined"


ATTACKS = {
    "a mount": "mkdir /m && mount -t tmpfs none /m",
    "the kernel's switches": "echo core > /proc/sys/kernel/core_pattern",
    "sysrq": "echo h > /proc/sysrq-trigger",
    "the kernel's memory": "head -c 1 /proc/kcore",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_holds_where_all_other_walls_are_down(box: Callable[..., Box], attack: str) -> None:
    down = "--privileged", "--security-opt", "seccomp=unconfined"
    confined = box(*down, "--security-opt", f"apparmor={apparmor.DEFAULT}")
    assert profile(confined) == ENFORCED
    done = confined.sh(f"{ATTACKS[attack]}; echo $?", check=False)
    assert "denied" in done.lower(), done
    # The control: without the profile it works.
    assert box(*down).sh(f"{ATTACKS[attack]} > /dev/null; echo $?", check=False) == "0"


def test_signals_and_tracing_stay_among_its_own(box: Callable[..., Box], engine: Engine) -> None:
    container = box()
    container.sh("sleep 500 > /dev/null 2>&1 & kill $!")
    engine.docker("kill", "-s", "KILL", container.id)
    assert engine.client.api.inspect_container(container.id)["State"]["ExitCode"] == 137


def test_a_profile_that_was_unloaded_is_loaded_again(box: Callable[..., Box]) -> None:
    box()
    subprocess.run(
        ["/usr/sbin/apparmor_parser", "-R"], input=apparmor.TEXT.encode(), check=True, capture_output=True, timeout=60
    )
    assert profile(box()) == ENFORCED


def test_a_profile_that_nobody_loaded_is_no_start(engine: Engine, busybox: str) -> None:
    done = engine.docker("run", "--rm", "--security-opt", "apparmor=nosuch", busybox, "true", check=False)
    assert done.returncode
    assert "nosuch" in done.stderr
