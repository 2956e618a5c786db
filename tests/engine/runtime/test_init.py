"""The first process of --init: what it is made of. What it does is tested with containers."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from dosirak.engine.runtime import init
from support.machinecode import compiled

SOURCE = Path(init.__file__).with_name("init.c")


@pytest.mark.parametrize("machine", init.CODE)
def test_the_source_compiles_to_the_code_that_is_shipped(machine, tmp_path):
    code = compiled(SOURCE, machine, init.FLAGS, tmp_path)
    assert code == base64.b64decode(init.CODE[machine])


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
