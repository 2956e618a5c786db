"""arm64 by table: what our modules hold for it, against the kernel's own headers; nothing of it runs here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dosirak.engine.runtime import steps
from dosirak.engine.runtime.seccomp import tables

# linux/audit.h, elf.h
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# arm64 has the generic table (asm/unistd.h includes it there).
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ON = """
import collections, json, os
real = os.uname()
machine = collections.namedtuple("Uname", "sysname nodename release version machine")(*real[:4], "{machine}")
os.uname = lambda: machine
from dosirak.engine.runtime import syscalls
from dosirak.engine.runtime.seccomp import tables
print(json.dumps({{"calls": syscalls._NUMBERS, "native": tables.NATIVE}}))
"""
# Of 32-bit machines, whose time has 64 bits there.
TIME64 = range(403, 424)


@cache
def numbers(machine: str) -> dict[str, int]:
    """The kernel's, by its header; {} where that is not installed."""
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not installed (linux-libc-dev)")
    defined = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[machine].read_text(), re.MULTILINE)
    # Two are no calls, and the last is of machines that want it otherwise.
    none = ("syscalls", "arch_specific_syscall", "sync_file_range2")
    defined = [("newfstatat" if name == "fstatat" else name, number) for name, number in defined]
    return {name: int(number) for name, number in defined if name not in none and int(number) not in TIME64}


def told_on(machine: str) -> dict[str, Any]:
    """What our modules hold where the kernel says that this is its machine."""
    done = subprocess.run(
        [sys.executable, "-c", ON.format(machine=machine)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_numbers_of_calls_are_the_kernel_s(machine: str) -> None:
    told = told_on(machine)
    known = numbers(machine)
    assert {name: known.get(name) for name in told["calls"]} == told["calls"]
    native = tables.ARCHITECTURES[told["native"]]
    assert (native.column, native.audit, native.wide) == (machine, AUDIT_ARCH[machine], True)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_numbers_in_programs_of_steps_are_the_kernel_s(machine: str) -> None:
    known = numbers(machine)
    assert {name: known.get(name) for name in steps.NUMBERS[machine]} == steps.NUMBERS[machine]
    assert known["faccessat2"] == steps.FACCESSAT2


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_s_table_has_every_call_of_the_kernel_s_header(machine: str) -> None:
    ours = next(one for one in tables.ARCHITECTURES.values() if one.column == machine)
    known = numbers(machine)
    assert len(known) > 280
    assert {name: ours.number(name) for name in known} == known
