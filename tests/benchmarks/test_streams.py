"""The benchmark of streams runs and prints its rows; its figures are for a quiet machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_exec_and_a_million_lines_have_figures() -> None:
    script = Path(__file__).with_name("streams.py")
    environment = {**os.environ, "PATH": ""}  # dockerd is not found: too slow a start for a test
    command = [sys.executable, script, "--rounds", "1", "--only", "API", "read, local"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for name in ("exec true, API", "1,000,000 lines read, local"):
        assert re.search(rf"^{name} +dosirak +\d+\.\d", done.stdout, re.MULTILINE), done.stdout
