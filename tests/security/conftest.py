"""Attacks, tried on a running engine through the docker CLI. Controls show that the tests would see a success.

`probe` runs Python inside a container (the machine's own, from the image made of it) in the three ways in which an
engine starts a process there: `run`, `exec` and a build's `RUN`. `marker` is a secret file of the host that must be
as it was after every test.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engines import Engine

HOST_IMAGE = "dosirak/host"
Probe = Callable[..., Any]


class Marker:
    """A file of the host that nobody inside may read, change, link or remove."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "marker"
        self.secret = secrets.token_hex(16)
        self.path.write_text(self.secret)
        self.path.chmod(0o644)
        folder.chmod(0o755)
        self._before = self._state()

    def _state(self) -> tuple[object, ...]:
        found = self.path.lstat()
        return found.st_ino, found.st_nlink, found.st_mtime_ns, found.st_mode, sorted(os.listdir(self.folder))

    def check(self) -> None:
        """Fails the test if anything happened to it or beside it."""
        assert self.path.read_text() == self.secret
        assert self._state() == self._before


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Marker]:
    found = Marker(tmp_path)
    yield found
    found.check()


def command(code: str) -> list[str]:
    """Python's command line for a piece of code, with nothing in it that a shell would change."""
    packed = base64.b64encode(code.encode()).decode()
    return ["python3", "-c", f"exec(__import__('base64').b64decode('{packed}'))"]


def in_run(engine: Engine, code: str, *flags: str) -> str:
    return str(engine.docker("run", "--rm", *flags, HOST_IMAGE, *command(code)).stdout)


def in_exec(engine: Engine, code: str, *flags: str) -> str:
    name = engine.docker("run", "-d", *flags, HOST_IMAGE, "sleep", "600").stdout.strip()
    try:
        return str(engine.docker("exec", name, *command(code)).stdout)
    finally:
        engine.docker("rm", "-f", name)


def in_build(engine: Engine, code: str) -> str:
    python, option, text = command(code)
    file = f'FROM {HOST_IMAGE}\nRUN ["{python}", "{option}", "{text}"]\n'
    said = str(engine.docker("build", "--no-cache", "-t", "probed", "-", stdin=file).stdout)
    engine.docker("rmi", "probed")
    return said


WAYS = {"run": in_run, "exec": in_exec, "build": in_build}


@pytest.fixture(params=WAYS)
def probe(request: pytest.FixtureRequest, engine: Engine) -> Probe:
    """`probe(code, *flags)`: what the code prints as one line of JSON, run inside in each of the three ways."""

    def run(code: str, *flags: str) -> Any:
        return last_json(WAYS[request.param](engine, code, *flags))

    run.way = request.param  # type: ignore[attr-defined]
    return run


@pytest.fixture
def outside(engine: Engine) -> Probe:
    """The same in `run` alone, with flags that make the container weaker: the control."""

    def run(code: str, *flags: str) -> Any:
        return last_json(in_run(engine, code, *flags))

    return run


def last_json(said: str) -> Any:
    """The last line of an output that is a JSON object or list."""
    return json.loads(next(line for line in reversed(said.splitlines()) if line[:1] in ("{", "[")))
