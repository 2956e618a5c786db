"""Calls that have led out of containers before, or would show the host: refused however a process got in."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .conftest import Probe

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls by their numbers on x86_64")

EPERM, ENOSYS = 1, 38

# What each call says with arguments that the kernel itself would refuse differently, or accept.
CALLS = """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    found = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a & (1 << 64) - 1) for a in arguments])
    return ctypes.get_errno() if found < 0 else 0
NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
found = {
    "unshare mount": call(272, NEWNS),
    "unshare user": call(272, NEWUSER),
    "unshare net": call(272, NEWNET),
    "clone user": call(56, NEWUSER | 17, 1 << 63, 0, 0, 0),
    "clone3": call(435, 0, 88),
    "setns": call(308, -1, 0),
    "mount": call(165, 0, 0, 0, 0, 0),
    "umount2": call(166, 0, 0),
    "pivot_root": call(155, 0, 0),
    "fsopen (CVE-2022-0185)": call(430, 0, 0),
    "open_tree": call(428, -1, 0, 0),
    "move_mount": call(429, -1, 0, -1, 0, 0),
    "AF_ALG (CVE-2026-31431)": call(41, 38, 5, 0),
    "AF_ALG, upper half": call(41, 38 | 1 << 32, 5, 0),
    "AF_VSOCK": call(41, 40, 1, 0),
    "AF_VSOCK, upper half": call(41, 40 | 1 << 32, 1, 0),
    "keyctl": call(250, 0, -3, 0),
    "add_key": call(248, 0, 0, 0, 0, -3),
    "request_key": call(249, 0, 0, 0, 0),
    "bpf": call(321, 0, 0, 0),
    "perf_event_open": call(298, 0, 0, -1, -1, 0),
    "io_uring_setup": call(425, 0, 0),
    "io_uring_enter": call(426, -1, 0, 0, 0, 0, 0),
    "userfaultfd": call(323, 0xFFFF),
    "open_by_handle_at": call(304, -1, 0, 0),
    "init_module": call(175, 0, 0, 0),
    "finit_module": call(313, -1, 0, 0),
    "kexec_load": call(246, 0, 0, 0, 0),
    "reboot": call(169, 0, 0, 0, 0),
    "syslog": call(103, 3, 0, 0),
    "swapon": call(167, 0, 0),
    "acct": call(163, 1),
    "settimeofday": call(164, 1, 0),
    "iopl": call(172, 9),
    "quotactl": call(179, 0, 0, 0, 0),
    "sethostname": call(170, 0, 1000),
    "ptrace of a stranger": call(101, 16, 1 << 22, 0, 0),
    "a call of the future": call(600),
}
print(json.dumps(found))
"""
REFUSED = {"clone3": ENOSYS, "a call of the future": ENOSYS, "ptrace of a stranger": 3}  # ESRCH: allowed, nobody there


def test_dangerous_calls_are_refused(probe: Probe) -> None:
    found: dict[str, int] = probe(CALLS)
    assert {name: error for name, error in found.items() if error != REFUSED.get(name, EPERM)} == {}


def test_without_a_filter_the_kernel_answers_otherwise(outside: Probe) -> None:
    # The control: these refusals are the filter's own, and a success would be seen.
    found: dict[str, int] = outside(CALLS, "--security-opt", "seccomp=unconfined")
    by_filter = {name for name, error in found.items() if error != REFUSED.get(name, EPERM)}
    assert by_filter >= {
        *("unshare user", "clone3", "setns", "AF_VSOCK", "AF_VSOCK, upper half", "keyctl", "add_key", "request_key"),
        *("io_uring_enter", "open_tree"),
    }
    assert found["unshare user"] == 0
    assert found["AF_VSOCK, upper half"] in (0, 97)  # EAFNOSUPPORT where the kernel has no such sockets


# 32-bit x86's door (int 0x80) into the same kernel: other numbers, other path.
OLD_DOOR = """
import ctypes, json, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
# push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; xor edx, edx; xor esi, esi; int 0x80; pop rbx; ret
code.write(bytes.fromhex("53 89f8 89f3 89d1 31d2 31f6 cd80 5b c3"))
enter = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(
    ctypes.addressof(ctypes.c_char.from_buffer(code)))
calls = {"getpid": (20, 0, 0), "unshare user": (310, 0x10000000, 0), "keyctl": (288, 0, -3), "AF_ALG": (359, 38, 5),
         "mount": (21, 0, 0), "clone3": (435, 0, 88), "bpf": (357, 0, 0)}
print(json.dumps({name: enter(*call) for name, call in calls.items()}))
"""


def test_the_door_of_32_bit_programs_leads_to_the_same_filter(probe: Probe) -> None:
    found: dict[str, Any] = probe(OLD_DOOR)
    if found["getpid"] < 0:
        pytest.skip("this kernel runs no 32-bit programs")
    assert found.pop("getpid") > 0
    assert found.pop("clone3") == -ENOSYS
    assert set(found.values()) == {-EPERM}


def test_without_a_filter_that_door_is_open(outside: Probe) -> None:
    found = outside(OLD_DOOR, "--security-opt", "seccomp=unconfined")
    assert found["getpid"] < 0 or found["unshare user"] == 0


def test_a_profile_of_the_users_own_is_what_counts(outside: Probe, tmp_path: Any) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":'
        ' [{"names": ["unshare", "getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]}'
    )
    code = CALLS.replace("print(json", 'found["getpgid"] = call(121, 0)\nprint(json')
    found = outside(
        code,
        "--security-opt",
        f"seccomp={profile}",
    )
    assert (found["unshare user"], found["getpgid"]) == (71, 71)
    assert found["keyctl"] != EPERM


def test_privileged_has_no_filter_unless_it_is_asked_for(outside: Probe) -> None:
    status = "import json; print(json.dumps([l for l in open('/proc/self/status') if l.startswith('Seccomp:')]))"
    assert outside(status, "--privileged") == ["Seccomp:\t0\n"]
    assert outside(status, "--privileged", "--security-opt", "seccomp=builtin") == ["Seccomp:\t2\n"]
    assert outside(status) == ["Seccomp:\t2\n"]
