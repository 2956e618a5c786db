"""Classic BPF as seccomp(2) takes it: instructions, conditions on arguments, and a search tree over numbers.

A program here is a list of instructions whose jumps are relative, so programs can be put one behind another. Jumps of
conditions reach 255 instructions (linux/filter.h: `jt` and `jf` are bytes), BPF_JA any distance.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

# linux/bpf_common.h
_LD_W_ABS, _AND_K, _RET_K = 0x20, 0x54, 0x06
_JA, _JEQ_K, _JGT_K, _JGE_K = 0x05, 0x15, 0x25, 0x35
_SHORT_JUMP = 255

# struct seccomp_data (linux/seccomp.h); both machines are little-endian: an argument's low half comes first.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_INSTRUCTION = struct.Struct("<HBBI")
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""


class Instruction(NamedTuple):
    """struct sock_filter."""

    code: int
    k: int
    jt: int = 0
    jf: int = 0


Program = list[Instruction]


def encode(program: Sequence[Instruction]) -> bytes:
    """The program as the kernel reads it."""
    return b"".join(_INSTRUCTION.pack(code, jt, jf, k) for code, k, jt, jf in program)


def decode(program: bytes) -> Program:
    """The reverse of `encode`."""
    return [Instruction(code, k, jt, jf) for code, jt, jf, k in _INSTRUCTION.iter_unpack(program)]


def give(value: int) -> Program:
    """End with a verdict (SECCOMP_RET_*)."""
    return [Instruction(_RET_K, value)]


def on_architecture(audit: int, program: Program) -> Program:
    """Run the program, which gets the call's number loaded, for calls of one architecture; go on behind it else."""
    body = [Instruction(_LD_W_ABS, _NUMBER), *program]
    return [
        Instruction(_LD_W_ABS, _ARCHITECTURE),
        Instruction(_JEQ_K, audit, 1, 0),
        Instruction(_JA, len(body)),
        *body,
    ]


def search(ranges: Sequence[tuple[int, Program]]) -> Program:
    """Find the range of the loaded number by halving. `ranges`: (first number, program that ends), in order; the first
    one begins at 0."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = search(ranges[:middle]), search(ranges[middle:])
    first = ranges[middle][0]
    if len(below) <= _SHORT_JUMP:
        return [Instruction(_JGE_K, first, len(below), 0), *below, *above]
    return [Instruction(_JGE_K, first, 0, 1), Instruction(_JA, len(below)), *below, *above]


class Test(NamedTuple):
    """A condition on an argument: `operator` without "SCMP_CMP_"; `halves`: the kernel looks at all 64 bits, else at
    the lower 32."""

    place: int
    operator: str
    value: int
    value_two: int
    halves: bool


def when(tests: Sequence[Test], program: Program) -> Program:
    """Run the program, which ends, if all tests hold; go on behind it else."""
    parts = [_test(test) for test in tests]
    found: Program = []
    # A test's "no" leads behind the program: over all that is left of this.
    left = len(program)
    for part in reversed(parts):
        found = _link(part, left) + found
        left += len(part)
    return found + program


# In a part's instructions, before `_link`: jumps to the part's end, and to behind the program.
_YES, _NO, _ON = -1, -2, 0


def _link(part: Program, behind: int) -> Program:
    """Make the jumps real. `behind`: how many instructions follow the part before the "no"."""
    found = []
    for place, (code, k, jt, jf) in enumerate(part):
        rest = len(part) - place - 1
        distances = {_YES: rest, _NO: rest + behind}
        found.append(Instruction(code, k, distances.get(jt, jt), distances.get(jf, jf)))
    return found


def _test(test: Test) -> Program:
    low = Instruction(_LD_W_ABS, _ARGUMENTS + 8 * test.place)
    high = Instruction(_LD_W_ABS, _ARGUMENTS + 8 * test.place + 4)
    upper, lower = test.value >> 32, test.value & 0xFFFFFFFF
    if test.operator == "MASKED_EQ":
        upper_two, lower_two = (test.value_two >> 32) & upper, test.value_two & lower
        parts: Program = [low, Instruction(_AND_K, lower), Instruction(_JEQ_K, lower_two, _YES, _NO)]
        if test.halves and upper:
            parts = [high, Instruction(_AND_K, upper), Instruction(_JEQ_K, upper_two, _ON, _NO), *parts]
        return parts
    yes, no = (_YES, _NO) if test.operator in ("EQ", "GT", "GE") else (_NO, _YES)
    jump = {"EQ": _JEQ_K, "NE": _JEQ_K, "GT": _JGT_K, "LE": _JGT_K, "GE": _JGE_K, "LT": _JGE_K}[test.operator]
    if not test.halves:
        return _narrow(jump, low, upper, lower, yes, no)
    last = [low, Instruction(jump, lower, yes, no)]
    if jump == _JEQ_K:
        return [high, Instruction(_JEQ_K, upper, _ON, no), *last]
    return [high, Instruction(_JGT_K, upper, yes, _ON), Instruction(_JEQ_K, upper, _ON, no), *last]


def _narrow(jump: int, low: Instruction, upper: int, lower: int, yes: int, no: int) -> Program:
    """The kernel drops the argument's upper half. A value beyond 32 bits is a negative number with its sign in front,
    or one that no argument can have."""
    if upper in (0, 0xFFFFFFFF):
        return [low, Instruction(jump, lower, yes, no)]
    # Never equal to, never above: the answer is that of "no", for any argument.
    return [low, Instruction(_JEQ_K, lower, no, no)]
