"""System call numbers by architecture (`syscalls.txt`), and what else the compiler has to know of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_COLUMNS = {"x86_64": 1, "x86": 2, "x32": 3, "aarch64": 4, "arm": 5}
# Rows of their own above that in which new calls get their numbers: ARM's private calls (asm/unistd.h, __ARM_NR_BASE),
# and x32's of 2012 (arch/x86/entry/syscalls/syscall_64.tbl). They say nothing of how new a profile is.
_APART = {"arm": range(0xF0000, 0xF0010), "x32": range(512, 548)}


@dataclass(frozen=True, slots=True)
class Architecture:
    """How calls of one architecture look to a filter (linux/audit.h; seccomp(2)).

    `audit`: seccomp_data.arch; `bit`: set in each number (x32 shares its `audit` with x86_64); `wide`: arguments of 64
    bits; `column`: of `syscalls.txt`.
    """

    column: str
    audit: int
    wide: bool
    bit: int = 0

    def number(self, name: str) -> int | None:
        """A call's number, None where this architecture has no such call."""
        found = _numbers(self.column).get(name)
        return None if found is None else found | self.bit

    def is_apart(self, number: int) -> bool:
        """Whether the number lies outside of the row in which new calls get theirs."""
        return number & ~self.bit in _APART.get(self.column, ())


X86_64 = Architecture("x86_64", 0xC000003E, True)
X32 = Architecture("x32", 0xC000003E, True, 0x40000000)
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X86": Architecture("x86", 0x40000003, False),
    "SCMP_ARCH_X32": X32,
    "SCMP_ARCH_AARCH64": Architecture("aarch64", 0xC00000B7, True),
    "SCMP_ARCH_ARM": Architecture("arm", 0x40000028, False),
}
"""Those that machines of ours can run."""

KNOWN_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        *("X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32"),
        *("PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH"),
    )
)
"""Those that runtime-spec 1.2 names; a call of one that this machine can't run never comes."""

NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[os.uname().machine]
GO_NAMES = {"SCMP_ARCH_X86_64": "amd64", "SCMP_ARCH_AARCH64": "arm64"}

# 32-bit x86's two doors to many calls: call → its number as first argument (linux/net.h, linux/ipc.h).
_SOCKETCALL = """
socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt
getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
"""
SOCKETCALL = {name: number for number, name in enumerate(_SOCKETCALL.split(), start=1)}
IPC = {"semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14}
IPC |= {"shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24}


@cache
def _rows() -> list[list[str]]:
    text = Path(__file__).with_name("syscalls.txt").read_text()
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


@cache
def _numbers(column: str) -> dict[str, int]:
    place = _COLUMNS[column]
    return {row[0]: int(row[place]) for row in _rows() if row[place] != "-"}


@cache
def _narrow() -> dict[str, int]:
    return {row[0]: int(row[6], 16) for row in _rows() if row[6] != "0"}


def is_narrow(name: str, index: int) -> bool:
    """Whether the kernel takes this argument as 32 bits wide, and never looks at what stands above them."""
    return bool(_narrow().get(name, 0) >> index & 1)


def doors(architecture: Architecture, name: str) -> list[tuple[str, int]]:
    """Further ways to make a call: (call, what its first argument is)."""
    if architecture.column != "x86":
        return []
    found = [("socketcall", SOCKETCALL), ("ipc", IPC)]
    return [(door, calls[name]) for door, calls in found if name in calls]
