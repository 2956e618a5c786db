"""The OCI command line's tests: each command is a process of its own, as its callers start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dosirak.engine.oci import program
from dosirak.engine.runtime import cgroups
from support.rootfs import make_root

COMMAND = (sys.executable, "-S", "-E", "-I", program.__file__)


class Runtime:
    """A --root of the test's own, and bundles that share one root file system."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder, self.root, self._image = folder, folder / "state", image

    def __call__(self, *words: str | Path, fails: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
        """One command."""
        done = self.plain(self.command(*words), **options)
        assert fails or done.returncode == 0, done.stderr
        return done

    def command(self, *words: str | Path) -> list[str]:
        return [*COMMAND, "--root", str(self.root), *map(str, words)]

    def plain(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Its streams are files: a pipe would stay open with the container."""
        out, err = self.folder / "out", self.folder / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            done: Any = subprocess.run(
                command,
                **{"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr, "timeout": 60, **options},
            )
        done.stdout, done.stderr = out.read_text(), err.read_text()
        return cast("subprocess.CompletedProcess[str]", done)

    def bundle(self, *args: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
        """What `spec` writes, without a terminal, running `args`."""
        folder = self.folder / f"bundle-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        (folder / "rootfs").symlink_to(self._image)
        self("spec", "--bundle", folder)
        document = json.loads((folder / "config.json").read_text())
        document["process"] |= {"terminal": False, "args": list(args or ("true",))}
        change(document)
        (folder / "config.json").write_text(json.dumps(document))
        return folder

    def name(self) -> str:
        return f"oci-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def create(self, bundle: Path, **options: Any) -> str:
        name = self.name()
        self("create", "--bundle", bundle, name, **options)
        return name

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("state", name).stdout)
        return found

    def until(self, name: str, status: str) -> None:
        deadline = time.monotonic() + 20
        while self.state(name)["status"] != status:
            assert time.monotonic() < deadline, self.state(name)
            time.sleep(0.02)

    def open_to_all(self) -> None:
        """A remapped user has to walk through pytest's folders to the bundle and the image."""
        for folder in (self.folder, self._image):
            for path in (folder, *folder.parents[:4]):
                if path.name.startswith(("test_", "image", "pytest-", "popen-")):
                    path.chmod(0o755)


@pytest.fixture(scope="session")
def oci_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, mounts and control groups of the real kernel")
    folder = tmp_path_factory.mktemp("image")
    make_root(folder)
    folder.chmod(0o755)  # users other than root walk through it inside
    return folder


@pytest.fixture
def runtime(tmp_path: Path, oci_image: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path, oci_image)
    yield made
    names = made("list", "--quiet", fails=True).stdout.split()  # where none was made, there is no --root
    for name in names:
        made("delete", "--force", name)
    left = [path for path in made.root.glob("*") if path.name != "@seccomp"]
    assert left == []
    assert not [name for name in names if cgroups.processes(f"dosirak/{name}")]
