"""podman with this runtime in place of its own: run, logs, exec with and without a terminal, pause, stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.peers import remove_cgroups
from dosirak.engine.oci import program
from support.rootfs import busybox_tar

pytestmark = [
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
    pytest.mark.xdist_group("podman"),
]

Podman = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def podman(oci_image: Path) -> Iterator[Podman]:
    folder = Path(tempfile.mkdtemp(prefix="dsk-podman-", dir="/tmp"))  # podman takes short paths only
    configuration = folder / "containers.conf"
    configuration.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
    wrapper = folder / "dosirak-oci"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E -I {program.__file__} --root {folder}/oci "$@"\n')
    wrapper.chmod(0o755)
    base = ["podman", "--root", folder / "root", "--runroot", folder / "run", "--cgroup-manager", "cgroupfs"]
    base += ["--runtime", wrapper, "--events-backend", "none"]
    environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}

    def call(*words: str | Path, fails: bool = False, text: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*base, *words], env=environment, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert fails or done.returncode == 0, done.stderr
        return done

    (folder / "busybox.tar").write_bytes(busybox_tar())
    call("import", folder / "busybox.tar", "busybox")
    yield call
    call("rm", "--all", "--force", "--time", "0")
    call("system", "reset", "--force")
    remove_cgroups()
    shutil.rmtree(folder)


def test_podman_s_usual_work(podman: Podman) -> None:
    done = podman("run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo out; exit 5", fails=True)
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert podman("run", "--rm", "--network", "none", "busybox", "/nope", fails=True).returncode == 127
    script = 'trap "exit 3" TERM; echo hello; while :; do sleep 0.1; done'
    podman("run", "--detach", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert podman("exec", "-i", "one", "sh", "-c", "cat; exit 4", text="in\n", fails=True).returncode == 4
    assert podman("exec", "-t", "one", "tty").stdout.strip().startswith("/dev/pts/")
    podman("pause", "one")
    assert "aused" in podman("inspect", "one", "--format", "{{.State.Status}}").stdout
    podman("unpause", "one")
    assert podman("logs", "one").stdout == "hello\n"
    podman("stop", "--time", "20", "one")
    assert podman("inspect", "one", "--format", "{{.State.Status}} {{.State.ExitCode}}").stdout == "exited 3\n"
