"""The benchmark of many containers runs and prints its rows; its figures are for a quiet machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_each_row_has_a_figure() -> None:
    script = Path(__file__).with_name("many.py")
    done = subprocess.run([sys.executable, script, "--count", "4", "--clients", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for row in ("4 started by 2 clients", "list of 4", "inspect", "one-shot stats of 4", "rm -f of 4"):
        assert re.search(rf"^  {row}.* +\d+(\.\d)?", done.stdout, re.MULTILINE), done.stdout
    for row in ("service RSS, MB", "PSS of a supervisor, kB"):
        assert re.search(rf"^  {re.escape(row)} +\d+", done.stdout, re.MULTILINE), done.stdout
