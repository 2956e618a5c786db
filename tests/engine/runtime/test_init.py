"""The first process of --init: what it is made of. What it does is tested with containers."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dosirak.engine.runtime import init

SOURCE = Path(init.__file__).with_name("init.c")
PREFIX = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}


@pytest.mark.parametrize("machine", init.CODE)
def test_the_source_compiles_to_the_code_that_is_shipped(machine, tmp_path):
    prefix = "" if machine == os.uname().machine else PREFIX[machine]
    compiler = shutil.which(f"{prefix}gcc")
    if compiler is None or (machine != os.uname().machine and not prefix):
        pytest.skip(f"no compiler for {machine}")
    if (
        not subprocess.run([compiler, "--version"], capture_output=True, text=True)
        .stdout.splitlines()[0]
        .split()[-1]
        .startswith("12.2")
    ):
        pytest.skip("the code was made by gcc 12.2; another version's differs")
    extra = ["-fcf-protection=none"] if machine == "x86_64" else []
    program, code = tmp_path / "init", tmp_path / "code"
    subprocess.run([compiler, *init.FLAGS, *extra, "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", program, code], check=True)
    assert code.read_bytes() == base64.b64decode(init.CODE[machine])


@pytest.mark.parametrize("machine", init.CODE)
def test_it_is_small_and_for_its_machine(machine):
    found = init.program(machine)
    assert len(found) < 1024
    assert found.startswith(b"\x7fELF") and int.from_bytes(found[18:20], "little") == init._MACHINES[machine]


def test_nobody_can_write_it():
    fd = init.open_program()
    try:
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)
