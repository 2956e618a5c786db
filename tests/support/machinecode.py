"""Machine code that is shipped as text: made once more of its source."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

_PREFIX = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}


def compiled(source: Path, machine: str, flags: Iterable[str], directory: Path) -> bytes:
    """What the compiler makes of a source for a machine; the test is skipped where there is not the very compiler."""
    foreign = machine != os.uname().machine
    prefix = _PREFIX[machine] if foreign else ""
    compiler = shutil.which(f"{prefix}gcc")
    if compiler is None or (foreign and not prefix):
        pytest.skip(f"no compiler for {machine}")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    if not version.split()[-1].startswith("12.2"):
        pytest.skip("the code was made by gcc 12.2; another version's differs")
    extra = ["-fcf-protection=none"] if machine == "x86_64" else []
    program, code = directory / "program", directory / "code"
    subprocess.run([compiler, *flags, *extra, "-Wall", "-Wextra", "-o", program, source], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", program, code], check=True)
    return code.read_bytes()
