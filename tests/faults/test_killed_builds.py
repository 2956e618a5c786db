"""Builds that somebody ends: the step's processes go, and nothing half-made stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.engines import Engine, wait_for

from .conftest import returns_to, settled


def steps(engine: Engine) -> list[int]:
    """Processes of `sleep 593`, which nothing but these tests runs."""
    return [
        int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _command(int(entry)) == b"sleep\x00593\x00"
    ]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_build_whose_client_is_killed_ends_and_leaves_nothing(
    engine: Engine, busybox: str, number: signal.Signals
) -> None:
    engine.docker("build", "-", stdin=f"FROM {busybox}\nRUN true\n")  # what a first build makes is there already
    before = settled(engine)
    build = engine.docker_popen("build", "--no-cache", "-t", "never", "-", stderr=subprocess.DEVNULL)
    build.stdin.write(f"FROM {busybox}\nRUN echo 1 > /one && sleep 593\nRUN echo 2 > /two\n")
    build.stdin.close()
    wait_for(lambda: steps(engine), 20, "the step to run")
    build.send_signal(number)
    build.wait(10)
    build.stdout.close()
    wait_for(lambda: not steps(engine), 10, "the step to be ended")
    returns_to(engine, before, "what it made to go")
    assert engine.docker("images", "-q", "never").stdout == ""
    assert engine.docker("ps", "-aq").stdout == ""


def test_a_step_that_fails_leaves_nothing_but_what_was_finished_before(engine: Engine, busybox: str) -> None:
    script = f"FROM {busybox}\nRUN echo finished-{time.time_ns()} > /one\nRUN echo half > /two; exit 3\n"
    first = engine.docker("build", "-", stdin=script, check=False)
    assert first.returncode == 3 or first.returncode == 1
    assert "returned a non-zero code: 3" in first.stderr
    before = settled(engine)
    again = engine.docker("build", "-", stdin=script, check=False)
    assert "Using cache" in again.stdout
    returns_to(engine, before, "nothing to be left")
    assert engine.docker("ps", "-aq").stdout == ""
