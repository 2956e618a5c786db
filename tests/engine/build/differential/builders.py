"""The builders side by side: ours through Docker's client, Docker's classic one, buildah. Each gives an archive."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from benchmarks.measure import NotHere
from benchmarks.peers import Dockerd
from support.engines import Engine

BASE = "base:1"


class Failed(Exception):
    """The build did not succeed; the message is what the builder said."""


class Builder(Protocol):
    """Builds the context `folder` with its file `dockerfile` into the image archive `archive`. Raises Failed."""

    def build(self, folder: Path, dockerfile: Path, flags: tuple[str, ...], archive: Path) -> None: ...


class ByDocker:
    """Whatever answers Docker's client."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**environment, "DOCKER_BUILDKIT": "0"}

    def load(self, archive: Path) -> None:
        """Gives it the base image."""
        _run(["docker", "load", "-i", archive], self.environment)

    def build(self, folder: Path, dockerfile: Path, flags: tuple[str, ...], archive: Path) -> None:
        command = ["docker", "build", "-q", "--no-cache", "-t", "made", "-f", dockerfile, *flags, folder]
        _run(command, self.environment)
        _run(["docker", "save", "-o", archive, "made"], self.environment)
        _run(["docker", "rmi", "made"], self.environment)


def ours(engine: Engine) -> ByDocker:
    """The engine under test."""
    return ByDocker(engine.environment())


class Legacy(ByDocker):
    """Docker's classic builder, in a daemon of the test's own. Skips where there is none."""

    def __init__(self, folder: Path) -> None:
        self._daemon = Dockerd(folder)
        try:
            self._daemon.start()
        except NotHere as reason:
            self._daemon.stop()
            pytest.skip(f"Docker's classic builder: {reason} (make peers installs it)")
        super().__init__(self._daemon.environment)

    def stop(self) -> None:
        """Ends the daemon."""
        self._daemon.stop()


class Buildah:
    """buildah with a store of its own, its steps in a chroot: what is compared is files. Skips where there is none."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("buildah") is None:
            pytest.skip("buildah: not installed (make peers installs it)")
        folder.mkdir()
        policy = folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._base = ["buildah", "--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs"]
        self._policy = ["--signature-policy", policy]
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(folder)}

    def load(self, archive: Path) -> None:
        """Gives it the base image."""
        _run([*self._base, "pull", *self._policy, f"docker-archive:{archive}"], self._environment)

    def build(self, folder: Path, dockerfile: Path, flags: tuple[str, ...], archive: Path) -> None:
        command = [*self._base, "build", "-q", "--no-cache", "--pull-never", "--layers", "--format", "docker"]
        _run([*command, *self._policy, "-t", "made", "-f", dockerfile, *flags, folder], self._environment)
        _run([*self._base, "push", *self._policy, "-q", "made", f"docker-archive:{archive}:made:1"], self._environment)

    def stop(self) -> None:
        """Removes what it has."""
        subprocess.run([*self._base, "rmi", "--all", "--force"], env=self._environment, capture_output=True)


def _run(command: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command[:3]))}: {(done.stderr or done.stdout).strip()[-2000:]}")
