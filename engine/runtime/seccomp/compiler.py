"""`linux.seccomp` to a program for seccomp(2): for each architecture a search tree over the calls' numbers.

Rules have runc's and libseccomp's meaning: a rule without conditions counts before those with, which count in their
order; several conditions on one argument are alternatives. In three things the program is stricter or kinder:

- An argument that the kernel takes as 32 bits wide is compared so. Comparing 64 bits, as libseccomp does, lets
  `socket(AF_VSOCK | 1 << 32)` pass a rule for "above 40", and opens a socket of AF_VSOCK.
- A call newer than all that the profile names gives ENOSYS, not the default error: C libraries try new calls first and
  fall back on ENOSYS alone (runc does the same, libcontainer/seccomp/patchbpf).
- A call by an architecture that the profile does not name ends the process.
"""

from __future__ import annotations

import struct
from collections import defaultdict

from dosirak.engine.runtime.seccomp import bpf, tables
from dosirak.engine.runtime.seccomp.bpf import Test
from dosirak.engine.runtime.seccomp.document import Document, ProfileError, Rule, action, asks, flags
from dosirak.engine.runtime.seccomp.tables import Architecture

VERSION = 1
"""Goes up with every change of what comes out: programs that are kept are then made anew."""

_KILL_PROCESS = 0x80000000
_ENOSYS = 0x00050000 | 38
_HEADER = struct.Struct("<II")
# SECCOMP_RET_TRACE, _LOG, _ALLOW: these want to see calls of the future too.
_ALLOWING = (0x7FF00000, 0x7FFC0000, 0x7FFF0000)
_PASSING = (0x7FFC0000, 0x7FFF0000)
_X32_BIT = 0x40000000
_LAST = 0xFFFFFFFF

Conditional = tuple[tuple[tuple[Test, ...], int], ...]
Verdict = int | Conditional


def compile_document(document: Document, native: str = tables.NATIVE) -> bytes:
    """The program, behind a header of two numbers of 32 bits: the flags for seccomp(2), and zero.

    Parameters: `native`: the machine's architecture, always among those that are filtered. Raises ProfileError.
    """
    default = action(document.default_action, document.default_errno_ret, "$.defaultAction")
    names = dict.fromkeys((native, *(document.architectures or ())))
    _check_listener(document, native, default)
    groups: dict[int, list[Architecture]] = defaultdict(list)
    for name in names:
        if found := tables.ARCHITECTURES.get(name):
            groups[found.audit].append(found)
    program = []
    for audit, architectures in groups.items():
        program += bpf.on_architecture(audit, bpf.search(_ranges(document, architectures, default)))
    program += bpf.give(_KILL_PROCESS)
    if len(program) > bpf.MAX_INSTRUCTIONS:
        raise ProfileError(f"too many rules: {len(program)} instructions, the kernel takes {bpf.MAX_INSTRUCTIONS}")
    return _HEADER.pack(flags(document), 0) + bpf.encode(program)


def _check_listener(document: Document, native: str, default: int) -> None:
    """A process hands its questions over after its filter is loaded (`runtime.listening`)."""
    if asks(document):
        architecture = tables.ARCHITECTURES[native]
        number = architecture.number("sendmsg")
        verdicts, _ = _verdicts(document, architecture, default)
        verdict = verdicts.get(number, default) if number is not None else default
        if not isinstance(verdict, int) or verdict & 0xFFFF0000 not in _PASSING:
            raise ProfileError("SCMP_ACT_NOTIFY needs a filter that allows sendmsg - at `$.syscalls`")


def _ranges(document: Document, architectures: list[Architecture], default: int) -> list[tuple[int, bpf.Program]]:
    """The numbers of one seccomp_data.arch, each range with what to do; neighbours that do the same are one."""
    verdicts: dict[int, Verdict] = {}
    for architecture in architectures:
        found, newest = _verdicts(document, architecture, default)
        beyond = default if default & 0xFFFF0000 in _ALLOWING else _ENOSYS
        verdicts.setdefault(architecture.bit, default)
        verdicts |= {number + 1: default if number < newest else beyond for number in (*found, newest)}
        verdicts |= found
    if tables.X86_64 in architectures and tables.X32 not in architectures:
        # -1 is what a tracer makes of a call to be skipped: no x32 call.
        verdicts |= {_X32_BIT: _KILL_PROCESS, _LAST: default}
    verdicts.setdefault(0, _KILL_PROCESS)
    merged: list[tuple[int, Verdict]] = []
    for number in sorted(verdicts):
        if not merged or merged[-1][1] != verdicts[number] or not isinstance(verdicts[number], int):
            merged.append((number, verdicts[number]))
    return [(number, _program(verdict, default)) for number, verdict in merged]


def _verdicts(document: Document, architecture: Architecture, default: int) -> tuple[dict[int, Verdict], int]:
    """What to do with each number that the document names, and the newest number among them (the largest there can be
    if it names none)."""
    always: dict[int, int] = {}
    sometimes: dict[int, list[tuple[tuple[Test, ...], int]]] = defaultdict(list)
    newest = -1
    for place, rule in enumerate(document.syscalls or ()):
        result = action(rule.action, rule.errno_ret, f"$.syscalls[{place}].action")
        for name in rule.names:
            number = architecture.number(name)
            if number is not None and not architecture.is_apart(number):
                newest = max(number, newest)
            if result == default:
                continue
            if number is not None and not rule.args:
                always.setdefault(number, result)
            elif number is not None:
                sometimes[number] += [(tests, result) for tests in _alternatives(rule, name, architecture)]
            if not rule.args:  # the arguments of a call by a door are in memory, out of reach
                for door, code in tables.doors(architecture, name):
                    number = architecture.number(door)
                    assert number is not None
                    sometimes[number].append(((Test(0, "EQ", code, 0, False),), result))
    conditional: dict[int, Verdict] = {number: tuple(rules) for number, rules in sometimes.items()}
    return {**conditional, **always}, newest if newest >= 0 else _LAST - 1


def _alternatives(rule: Rule, name: str, architecture: Architecture) -> list[tuple[Test, ...]]:
    """The rule's conditions: one list of which all must hold; or each alone, where two speak of one argument."""
    tests = tuple(
        Test(
            argument.index,
            argument.op.removeprefix("SCMP_CMP_"),
            argument.value,
            argument.value_two,
            architecture.wide and not tables.is_narrow(name, argument.index),
        )
        for argument in rule.args or ()
    )
    if len({test.place for test in tests}) < len(tests):
        return [(test,) for test in tests]
    return [tests]


def _program(verdict: Verdict, default: int) -> bpf.Program:
    if isinstance(verdict, int):
        return bpf.give(verdict)
    found: bpf.Program = []
    for tests, result in verdict:
        found += bpf.when(tests, bpf.give(result))
    return found + bpf.give(default)
