"""Which device nodes a cgroup's processes may open and make: `linux.resources.devices` of config.json.

v1 has files for it (Documentation/admin-guide/cgroup-v1/devices.rst), v2 a program of type BPF_PROG_TYPE_CGROUP_DEVICE
that the kernel asks at each open and mknod (Documentation/admin-guide/cgroup-v2.rst, "Device controller"). In both the
last rule that fits counts, and what no rule speaks of is denied.
"""

from __future__ import annotations

import errno
import os
import struct

from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_ALL = "rwm"
# linux/bpf.h: BPF_DEVCG_DEV_*, BPF_DEVCG_ACC_*
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_EVERY_ACCESS = 7

# linux/bpf.h
_BPF_PROG_ATTACH = 8
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI = 15, 6, 2
_LDX_W, _MOV_K, _MOV_X, _AND_K, _RSH_K, _JNE_K, _JEQ_K, _EXIT = 0x61, 0xB7, 0xBF, 0x57, 0x77, 0x55, 0x15, 0x95
_INSTRUCTION = struct.Struct("<BBhi")  # code, source register << 4 | target register, jump, constant


def apply_v1(directory: str, rules: Sequence[dict[str, Any]]) -> None:
    """Write the rules into a group of the devices hierarchy. Raises OSError."""
    if all(is_everything(rule) and rule["allow"] for rule in rules):
        return  # what the parent may, a new group may; more it can't be given
    fds = [os.open(f"{directory}/devices.{name}", os.O_WRONLY | os.O_CLOEXEC) for name in ("deny", "allow")]
    try:
        for rule in rules:
            line = v1_line(rule)
            try:
                os.write(fds[bool(rule["allow"])], line.encode())
            except OSError as error:
                reason = f"device rule {line!r}: {os.strerror(error.errno or 0)}"
                raise OSError(error.errno, reason, directory) from error
    finally:
        for fd in fds:
            os.close(fd)


def v1_line(rule: dict[str, Any]) -> str:
    """A rule as devices.allow and devices.deny take it."""
    if is_everything(rule):
        return "a"
    major, minor = ("*" if rule.get(name) in (None, -1) else rule[name] for name in ("major", "minor"))
    return f"{rule.get('type') or 'a'} {major}:{minor} {rule.get('access') or _ALL}"


def is_everything(rule: dict[str, Any]) -> bool:
    """Whether the rule speaks of all access to all devices."""
    every = rule.get("major") in (None, -1) and rule.get("minor") in (None, -1)
    return every and (rule.get("type") or "a") == "a" and set(rule.get("access") or _ALL) == set(_ALL)


def attach_v2(directory: str, rules: Sequence[dict[str, Any]]) -> None:
    """Attach a program for the rules to a v2 group; it stays until the group goes. Raises OSError."""
    if rules and all(is_everything(rule) and rule["allow"] for rule in rules):
        return
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        loaded = _Ready.program if rules == _Ready.rules else _load_v2(rules)
        try:
            sys.bpf(_BPF_PROG_ATTACH, struct.pack("<4I", group, loaded, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))
        finally:
            if loaded != _Ready.program:
                os.close(loaded)
    except OSError as error:
        raise OSError(error.errno, f"device rules: {os.strerror(error.errno or 0)}", directory) from error
    finally:
        os.close(group)


class _Ready:
    """A program that is loaded already, and its rules: to load one takes four times as long as to attach it."""

    rules: Sequence[dict[str, Any]] | None = None
    program = -1


def get_ready_v2(rules: Sequence[dict[str, Any]]) -> None:
    """Load the program for rules that will probably be asked for. Where that fails, `attach_v2` will say so."""
    try:
        _Ready.program = _load_v2(rules)
    except OSError:
        return
    _Ready.rules = rules


def _load_v2(rules: Sequence[dict[str, Any]]) -> int:
    return sys.bpf_prog_load(_BPF_PROG_TYPE_CGROUP_DEVICE, v2_program(rules))


def v2_program(rules: Sequence[dict[str, Any]]) -> bytes:
    """eBPF (Documentation/bpf/standardization/instruction-set.rst) that answers 1 for what is allowed.

    It is given struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
    """
    program = [
        _instruction(_LDX_W, target=2, source=1, jump=0),
        _instruction(_MOV_X, target=3, source=2),
        _instruction(_AND_K, target=2, constant=0xFFFF),  # type
        _instruction(_RSH_K, target=3, constant=16),  # access
        _instruction(_LDX_W, target=4, source=1, jump=4),  # major
        _instruction(_LDX_W, target=5, source=1, jump=8),  # minor
    ]
    for rule in reversed(_merged(rules)):
        tests = _tests(rule)
        # Each test jumps over the rest of the rule: the tests that are left, and the answer of two instructions.
        for place, test in enumerate(tests):
            code, target, constant = test
            jump = len(tests) - place - 1 + 2 if code in (_JNE_K, _JEQ_K) else 0
            source = 3 if code == _MOV_X else 0
            program.append(_instruction(code, target=target, source=source, jump=jump, constant=constant))
        program += _answer(int(rule["allow"]))
        if not tests:
            return b"".join(program)  # the verifier takes no code that is never reached
    return b"".join(program + _answer(0))


def _merged(rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours that allow the same device different accesses become one: an open for "rw" asks for both at once."""
    found: list[dict[str, Any]] = []
    for rule in rules:
        device = [rule.get(name) for name in ("type", "major", "minor")]
        for earlier in reversed(found):
            if not (earlier["allow"] and rule["allow"]):
                found.append(dict(rule))
                break
            if device == [earlier.get(name) for name in ("type", "major", "minor")]:
                earlier["access"] = (earlier.get("access") or _ALL) + (rule.get("access") or _ALL)
                break
        else:
            found.append(dict(rule))
    return found


def _tests(rule: dict[str, Any]) -> list[tuple[int, int, int]]:
    """What has to hold for the rule to fit: (code, register, constant); a jump is taken where it does not."""
    found = []
    if (kind := rule.get("type") or "a") != "a":
        if kind == "u":
            kind = "c"
        if kind not in _TYPES:
            raise OSError(errno.EINVAL, f"device rule: no such type: {kind}")
        found.append((_JNE_K, 2, _TYPES[kind]))
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or _ALL))
    if access != _EVERY_ACCESS:
        # Allowed is only what asks for nothing else; denied what asks for any of it.
        found.append((_MOV_X, 1, 0))
        if rule["allow"]:
            found += [(_AND_K, 1, _EVERY_ACCESS & ~access), (_JNE_K, 1, 0)]
        else:
            found += [(_AND_K, 1, access), (_JEQ_K, 1, 0)]
    for name, register in (("major", 4), ("minor", 5)):
        number = rule.get(name)
        if number not in (None, -1):
            found.append((_JNE_K, register, number))
    return found


def _answer(value: int) -> list[bytes]:
    return [_instruction(_MOV_K, target=0, constant=value), _instruction(_EXIT)]


def _instruction(code: int, *, target: int = 0, source: int = 0, jump: int = 0, constant: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, source << 4 | target, jump, constant)
