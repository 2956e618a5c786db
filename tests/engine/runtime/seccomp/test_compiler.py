"""What the compiled filters say of calls: run in Python, compared with libseccomp's, and loaded into this kernel."""

from __future__ import annotations

import itertools
import operator
import os
import random
import signal
from collections.abc import Sequence

import msgspec
import pytest

from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.defaults import DEFAULT_CAPABILITIES
from dosirak.engine.runtime.seccomp import ProfileError, compiler, profile, tables
from dosirak.engine.runtime.seccomp.document import Argument, Document, Rule, action
from support import libseccomp
from support.bpf import AARCH64, ALLOW, ARM, ENOSYS, EPERM, ERRNO, KILL_PROCESS, X32_BIT, X86, X86_64, run

HEADER = 8
ALL_X86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]


def compiled(document: Document, native: str = "SCMP_ARCH_X86_64") -> bytes:
    return compiler.compile_document(document, native)[HEADER:]


def default(bounding: Sequence[str] = DEFAULT_CAPABILITIES, native: str = "SCMP_ARCH_X86_64") -> bytes:
    document = profile.resolve(profile.default(), set(bounding), native=native)
    assert document is not None
    return compiled(document, native)


def rule(names: str, verdict: str = "ERRNO", *tests: tuple[int, str, int] | tuple[int, str, int, int]) -> Rule:
    arguments = [Argument(test[0], test[2], f"SCMP_CMP_{test[1]}", *test[3:]) for test in tests]
    return Rule(names.split(), f"SCMP_ACT_{verdict}", args=arguments)


def number(name: str, column: str = "SCMP_ARCH_X86_64") -> int:
    found = tables.ARCHITECTURES[column].number(name)
    assert found is not None
    return found


def test_the_default_profile_allows_what_it_names_by_every_door() -> None:
    program = default()
    for audit, column in ((X86_64, "SCMP_ARCH_X86_64"), (X86, "SCMP_ARCH_X86"), (X86_64, "SCMP_ARCH_X32")):
        for name, verdict in (("openat", ALLOW), ("mount", EPERM), ("keyctl", EPERM), ("clone3", ENOSYS)):
            assert run(program, audit, number(name, column)) == verdict, (column, name)
    assert run(program, X86, number("socketcall", "SCMP_ARCH_X86")) == ALLOW


@pytest.mark.parametrize("upper", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_the_upper_half_of_an_int_hides_nothing(upper: int) -> None:
    program = default()
    for family, verdict in ((2, ALLOW), (16, ALLOW), (38, EPERM), (39, ALLOW), (40, EPERM), (41, ALLOW)):
        assert run(program, X86_64, number("socket"), (family | upper,)) == verdict, family
    assert run(program, X86_64, number("clone"), (0x20000 | upper,)) == EPERM
    assert run(program, X86_64, number("clone"), (0x11 | upper,)) == ALLOW


@pytest.mark.parametrize(("audit", "bit"), [(X86_64, 0), (X86, 0), (X86_64, X32_BIT)])
def test_calls_newer_than_the_profile_do_not_exist(audit: int, bit: int) -> None:
    program = default()
    newest = number("removexattrat")
    assert run(program, audit, bit | newest) == ALLOW
    for later in (newest + 1, newest + 2, newest + 300):
        assert run(program, audit, bit | later) == ENOSYS
    # A gap among the known numbers is refused.
    assert run(program, audit, bit | number("uselib", "SCMP_ARCH_X86" if audit == X86 else "SCMP_ARCH_X86_64")) == EPERM


def test_an_architecture_that_is_not_named_ends_the_process() -> None:
    program = default()
    assert run(program, AARCH64, 0) == KILL_PROCESS
    alone = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("chmod")]))
    assert run(alone, X86_64, number("chmod")) == EPERM
    assert run(alone, X86_64, number("openat")) == ALLOW
    assert run(alone, X86, number("chmod", "SCMP_ARCH_X86")) == KILL_PROCESS
    assert run(alone, X86_64, X32_BIT | number("chmod")) == KILL_PROCESS
    assert run(alone, X86_64, 0xFFFFFFFF) == ALLOW


def test_an_arm_machine_has_its_own_numbers() -> None:
    program = default(native="SCMP_ARCH_AARCH64")
    assert run(program, AARCH64, number("openat", "SCMP_ARCH_AARCH64")) == ALLOW
    assert run(program, AARCH64, number("mount", "SCMP_ARCH_AARCH64")) == EPERM
    assert run(program, ARM, number("cacheflush", "SCMP_ARCH_ARM")) == ALLOW
    assert run(program, ARM, number("removexattrat", "SCMP_ARCH_ARM") + 1) == ENOSYS
    assert run(program, X86_64, 0) == KILL_PROCESS


def test_a_refused_socket_is_refused_by_the_old_door_of_32_bit_programs_too() -> None:
    program = compiled(Document("SCMP_ACT_ALLOW", architectures=ALL_X86, syscalls=[rule("socket shmget")]))
    assert run(program, X86, number("socket", "SCMP_ARCH_X86")) == EPERM
    assert run(program, X86, number("socketcall", "SCMP_ARCH_X86"), (1,)) == EPERM
    assert run(program, X86, number("socketcall", "SCMP_ARCH_X86"), (2,)) == ALLOW
    assert run(program, X86, number("ipc", "SCMP_ARCH_X86"), (23,)) == EPERM


@pytest.mark.parametrize("comparison", ["NE", "LT", "LE", "EQ", "GE", "GT"])
@pytest.mark.parametrize("value", [0, 5, 0xFFFFFFFF, 1 << 32, 5 << 32 | 5, (1 << 64) - 1])
def test_comparisons_are_those_of_64_bits(comparison: str, value: int) -> None:
    entry = rule("mmap", "ERRNO", (1, comparison, value))
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=[entry]))
    for found in {0, 4, 5, 6, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 5 << 32 | 4, 5 << 32 | 5, 5 << 32 | 6, (1 << 64) - 1}:
        wanted = _holds((entry.args or [])[0], (0, found))
        assert run(program, X86_64, number("mmap"), (0, found)) == (EPERM if wanted else ALLOW), found


@pytest.mark.parametrize("mask", [0, 0xF0, 0xF0 << 32, (1 << 64) - 1])
def test_masks_are_of_64_bits(mask: int) -> None:
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("mmap", "ERRNO", (1, "MASKED_EQ", mask, 0x30 << 32))]))
    for found in (0, 0x30, 0x30 << 32, 0x3F << 32, 0x30 << 32 | 0xFF):
        wanted = found & mask == 0x30 << 32 & mask
        assert run(program, X86_64, number("mmap"), (0, found)) == (EPERM if wanted else ALLOW), hex(found)


def test_negative_numbers_are_as_the_kernel_sees_them() -> None:
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("openat", "ERRNO", (0, "EQ", (1 << 64) - 100))]))
    assert run(program, X86_64, number("openat"), (0xFFFFFF9C,)) == EPERM
    assert run(program, X86_64, number("openat"), ((1 << 64) - 100,)) == EPERM
    assert run(program, X86_64, number("openat"), (3,)) == ALLOW


def test_conditions_on_several_arguments_must_all_hold_and_on_one_are_alternatives() -> None:
    both = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("mmap", "ERRNO", (0, "EQ", 1), (1, "EQ", 2))]))
    either = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("mmap", "ERRNO", (0, "EQ", 1), (0, "EQ", 2))]))
    for first, second in itertools.product((1, 2, 3), repeat=2):
        hit = (first, second) == (1, 2)
        assert run(both, X86_64, number("mmap"), (first, second)) == (EPERM if hit else ALLOW)
        assert run(either, X86_64, number("mmap"), (first, second)) == (EPERM if first in (1, 2) else ALLOW)


def test_a_rule_without_conditions_counts_before_those_with() -> None:
    rules = [rule("mmap", "KILL_PROCESS", (0, "EQ", 1)), rule("mmap", "ERRNO"), rule("mmap", "LOG")]
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=rules))
    assert run(program, X86_64, number("mmap"), (1,)) == EPERM


def test_actions_carry_their_numbers() -> None:
    rules = [
        Rule(["chmod"], "SCMP_ACT_ERRNO", errno_ret=13),
        Rule(["fchmod"], "SCMP_ACT_TRAP"),
        Rule(["chown"], "SCMP_ACT_TRACE", errno_ret=7),
    ]
    program = compiled(Document("SCMP_ACT_ERRNO", default_errno_ret=22, syscalls=rules))
    assert run(program, X86_64, number("chmod")) == ERRNO | 13
    assert run(program, X86_64, number("fchmod")) == 0x30000
    assert run(program, X86_64, number("chown")) == 0x7FF00000 | 7
    assert run(program, X86_64, number("read")) == ERRNO | 22


@pytest.mark.parametrize(("flags", "value"), [(None, 4), ([], 0), (["SECCOMP_FILTER_FLAG_LOG"], 2)])
def test_the_flags_stand_before_the_program(flags: list[str] | None, value: int) -> None:
    found = compiler.compile_document(Document("SCMP_ACT_ALLOW", flags=flags))
    assert int.from_bytes(found[:4], "little") == value


def test_names_that_no_machine_knows_are_left_out() -> None:
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=[rule("chmod frobnicate")]))
    assert run(program, X86_64, number("chmod")) == EPERM


def test_a_profile_beyond_the_kernels_limit_is_refused() -> None:
    rules = [rule("mmap", "ERRNO", (1, "EQ", value)) for value in range(2000)]
    with pytest.raises(ProfileError, match="too many rules"):
        compiled(Document("SCMP_ACT_ALLOW", syscalls=rules))


# libseccomp


def theirs(document: Document, architectures: Sequence[str] = ALL_X86) -> bytes:
    """libseccomp's program for a document, with runc's rules of how to ask it."""
    ordinary = action(document.default_action, document.default_errno_ret, "")
    found = libseccomp.Filter(ordinary, architectures)
    for entry in document.syscalls or ():
        verdict = action(entry.action, entry.errno_ret, "")
        for name in entry.names:
            code = found.number(name)
            if code is None or verdict == ordinary:
                continue
            tests = [(a.index, a.op.removeprefix("SCMP_CMP_"), a.value, a.value_two) for a in entry.args or ()]
            if len({test[0] for test in tests}) < len(tests):
                for test in tests:
                    found.add(verdict, code, [test])
            else:
                found.add(verdict, code, tests)
    return found.program()


def known_to_both(document: Document) -> Document:
    library = libseccomp.Filter(ALLOW, [])

    def known(name: str) -> bool:
        return name != "map_shadow_stack" and library.number(name) is not None  # which 2.5.4 does not have on x32

    rules = [
        msgspec.structs.replace(entry, names=[name for name in entry.names if known(name)])
        for entry in document.syscalls or ()
    ]
    return msgspec.structs.replace(document, syscalls=[entry for entry in rules if entry.names])


@pytest.mark.parametrize("bounding", [DEFAULT_CAPABILITIES, (), ("CAP_SYS_ADMIN", "CAP_SYS_NICE", "CAP_BPF")])
def test_the_default_profile_is_the_same_program_as_libseccomps(bounding: Sequence[str]) -> None:
    document = profile.resolve(profile.default(), set(bounding))
    assert document is not None
    document = known_to_both(document)
    ours, other = compiled(document), theirs(document)
    values = (0, 1, 8, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x7E020000, 0x1200011, 0xFFFFFFFF)
    arguments = [(value,) for value in values]
    for audit, bit in ((X86_64, 0), (X86, 0), (X86_64, X32_BIT)):
        for code in range(470):
            for given in arguments:
                verdict = run(ours, audit, bit | code, given)
                if verdict != ENOSYS or code == number(
                    "clone3"
                ):  # newer than the profile: there libseccomp knows only the default
                    assert verdict == run(other, audit, bit | code, given), (audit, bit, code, given)
    assert len(ours) < len(other)


NAMES = ["mmap", "munmap", "mprotect", "write", "read", "execve", "brk", "lseek", "pread64", "getcwd", "chmod"]
VALUES = [0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 1 << 63, (1 << 64) - 1]


def random_rules(chance: random.Random, names: Sequence[str]) -> list[Rule]:
    """One verdict for all: what overlapping rules with different ones mean is not the same to everybody."""
    rules = []
    for name in names:
        places = chance.sample(range(1, 3), k=chance.randrange(0, 3))
        tests = [(place, chance.choice([*libseccomp.OPERATORS]), chance.choice(VALUES)) for place in places]
        rules.append(rule(name, "ERRNO", *tests))
    return rules


@pytest.mark.parametrize("seed", range(12))
def test_random_profiles_are_the_same_programs_as_libseccomps(seed: int) -> None:
    # A rule a call: several with ranges on one call libseccomp 2.5.4 merges into a tree that decides otherwise.
    chance = random.Random(seed)
    rules = random_rules(chance, chance.sample(NAMES, k=chance.randrange(1, len(NAMES))))
    document = Document("SCMP_ACT_ALLOW", syscalls=rules)
    ours, other = compiled(document), theirs(document, [])
    for name in NAMES:
        for given in itertools.product([3], VALUES, VALUES):
            verdicts = run(ours, X86_64, number(name), given), run(other, X86_64, number(name), given)
            assert verdicts[0] == verdicts[1] or _narrow(document, name), (rules, name, given)


@pytest.mark.parametrize("seed", range(12))
def test_random_profiles_mean_what_they_say(seed: int) -> None:
    chance = random.Random(seed)
    wide = [name for name in NAMES if not any(tables.is_narrow(name, place) for place in (1, 2))]
    rules = random_rules(chance, chance.choices(wide, k=20))
    program = compiled(Document("SCMP_ACT_ALLOW", syscalls=rules))
    for name in wide:
        for given in itertools.product([3], VALUES, VALUES):
            hit = any(all(_holds(a, given) for a in entry.args or ()) for entry in rules if name in entry.names)
            assert run(program, X86_64, number(name), given) == (EPERM if hit else ALLOW), (rules, name, given)


def _holds(argument: Argument, given: Sequence[int]) -> bool:
    found, value = given[argument.index], argument.value
    if argument.op == "SCMP_CMP_MASKED_EQ":
        return found & value == argument.value_two & value
    ordering = {"NE": operator.ne, "LT": operator.lt, "LE": operator.le}
    ordering |= {"EQ": operator.eq, "GE": operator.ge, "GT": operator.gt}
    return bool(ordering[argument.op.removeprefix("SCMP_CMP_")](found, value))


def _narrow(document: Document, name: str) -> bool:
    """Whether the profile looks at arguments that the kernel cuts to 32 bits: there we differ, on purpose."""
    return any(
        tables.is_narrow(name, argument.index)
        for entry in document.syscalls or ()
        if name in entry.names
        for argument in entry.args or ()
    )


def test_libseccomps_program_has_the_hole_that_ours_closes() -> None:
    document = profile.resolve(profile.default(), set(DEFAULT_CAPABILITIES))
    assert document is not None
    other = theirs(known_to_both(document))
    assert run(other, X86_64, number("socket"), (40 | 1 << 32,)) == ALLOW


# This kernel


def in_a_child(program: bytes, attempt: str) -> int:
    """Load the program in a child, call `attempt` there; its errno, 0, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.prctl(sys.PR_SET_NO_NEW_PRIVS, 1)
            sys.seccomp(program[HEADER:], 0)
            exec(attempt)
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


SOCKET = """
import ctypes
if ctypes.CDLL(None, use_errno=True).syscall(41, ctypes.c_ulong({}), 1, 0) < 0:
    raise OSError(ctypes.get_errno(), "socket")
"""


def native(document: Document) -> bytes:
    return compiler.compile_document(document)


@pytest.mark.parametrize("bounding", [DEFAULT_CAPABILITIES, ("CAP_SYS_ADMIN",)])
def test_the_kernel_takes_the_default_filter(bounding: Sequence[str]) -> None:
    document = profile.resolve(profile.default(), set(bounding))
    assert document is not None
    assert in_a_child(native(document), "os.getppid()") == 0
    assert in_a_child(native(document), "os.unlink('/dosirak-nothing')") == 2


def test_the_kernel_does_as_the_filter_says() -> None:
    document = Document("SCMP_ACT_ALLOW", syscalls=[Rule(["sethostname"], "SCMP_ACT_ERRNO", errno_ret=71)])
    assert in_a_child(native(document), "sys.sethostname(b'x' * 100)") == 71
    document = Document("SCMP_ACT_ALLOW", syscalls=[Rule(["sethostname"], "SCMP_ACT_KILL_PROCESS")])
    assert in_a_child(native(document), "sys.sethostname(b'x' * 100)") == -signal.SIGSYS


def test_a_socket_of_vsock_is_refused_whatever_its_upper_half() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("by its number on x86_64")
    document = profile.resolve(profile.default(), set(DEFAULT_CAPABILITIES))
    assert document is not None
    for family, errno in ((40 | 1 << 32, 1), (38, 1), (1, 0)):
        assert in_a_child(native(document), SOCKET.format(family)) == errno
