"""Classic BPF run in Python, as the kernel runs it for seccomp: what a filter says of a call."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

ALLOW, KILL_PROCESS, KILL_THREAD = 0x7FFF0000, 0x80000000, 0
ERRNO = 0x00050000
EPERM, ENOSYS = ERRNO | 1, ERRNO | 38

X86_64, X86, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
X32_BIT = 0x40000000


@functools.lru_cache(maxsize=8)
def _decode(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", program))


def run(program: bytes, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """The verdict (SECCOMP_RET_*) of `program`, an array of struct sock_filter, on a call."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, architecture, 0x7F0000001000, *values)
    code = _decode(program)
    accumulator, place = 0, 0
    while True:
        op, yes, no, k = code[place]
        place += 1
        if op == 0x20:
            accumulator = int.from_bytes(data[k : k + 4], "little")
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            place += k
        elif op in (0x15, 0x25, 0x35):
            holds = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[op]
            place += yes if holds else no
        elif op == 0x06:
            return int(k)
        else:
            raise AssertionError(f"instruction {op:#x}")
