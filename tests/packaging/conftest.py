"""Built distributions, and environments to install them into. No network: dependencies are the suite's own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own that sees the suite's third-party packages, but not this checkout."""

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    def install(self, *arguments: str | Path) -> None:
        """Install by pip, from files alone."""
        run(sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "--quiet", "--no-deps", *arguments)

    def python(self, code: str) -> str:
        """Run code in isolated mode, away from the checkout; its standard output."""
        return run(self.bin / "python", "-I", "-c", code, cwd=self.path).strip()


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "venv")
    run(sys.executable, "-m", "venv", "--without-pip", made.path)
    site = made.path / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    # A path in a .pth file is searched, but its own .pth files are not read: the editable checkout stays unseen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", folder, cwd=HOUSE)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="module")
def sdist(distributions: Path) -> Path:
    return next(distributions.glob("*.tar.gz"))
