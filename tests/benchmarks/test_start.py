"""The benchmark itself runs and prints what it says; its figures are for `make bench` on a quiet machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Case, table

START = Path(__file__).with_name("start.py")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_our_rows_are_measured_and_what_is_not_installed_says_so(tmp_path: Path) -> None:
    # Without a PATH there is no peer, and no runc to write the bundle's document.
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, START, "--rounds", "2", "--only", "engine", "bwrap", "runc"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = {line[:40].strip(): line[40:].split() for line in done.stdout.splitlines()}
    for name in ("dosirak engine API, net none", "dosirak engine API, net bridge"):
        line = next(line for line in done.stdout.splitlines() if line.startswith(name))
        assert re.search(r"\d+\.\d +\d+\.\d +\d+\.\d", line), rows
    for name in ("bwrap", "runc run"):
        assert re.search(rf"^{name} +-  not installed$", done.stdout, re.MULTILINE)


def test_the_table_has_medians_bests_and_ratios() -> None:
    ours, reference, absent = Case("ours", None), Case("runc run", None), Case("podman", None)  # type: ignore[arg-type]
    ours.seconds, reference.seconds, absent.absent = [0.010, 0.012, 0.030], [0.024] * 3, "not installed"
    ours.cpu_seconds = [0.004, 0.005, 0.006]
    lines = [" ".join(line.split()) for line in table([ours, reference, absent], "runc run")]
    assert lines == [
        "median min p95 × runc run service CPU",
        "ours 12.0 10.0 30.0 0.50 5.0",
        "runc run 24.0 24.0 24.0 1.00",
        "podman - not installed",
    ]
