"""The system's libseccomp by ctypes, to compare our compiler with."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import c_int, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

import pytest

OPERATORS = {name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)}
ARCHITECTURES = {"SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}
_CTL_OPTIMIZE = 8


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", c_uint), ("op", c_int), ("a", c_uint64), ("b", c_uint64))


def load() -> Any:
    """The library, or the test is skipped."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed (Debian: apt install libseccomp2)")
    library.seccomp_init.restype = c_void_p
    library.seccomp_init.argtypes = (c_uint32,)
    library.seccomp_arch_add.argtypes = (c_void_p, c_uint32)
    library.seccomp_attr_set.argtypes = (c_void_p, c_int, c_uint32)
    library.seccomp_rule_add_array.argtypes = (c_void_p, c_uint32, c_int, c_uint, c_void_p)
    library.seccomp_export_bpf.argtypes = (c_void_p, c_int)
    library.seccomp_release.argtypes = (c_void_p,)
    library.seccomp_release.restype = None
    return library


class Filter:
    """A filter of libseccomp's."""

    def __init__(self, default: int, architectures: Sequence[str]) -> None:
        self._library = load()
        self._filter = self._library.seccomp_init(default)
        for name in architectures:
            self._library.seccomp_arch_add(self._filter, ARCHITECTURES[name])
        self._library.seccomp_attr_set(self._filter, _CTL_OPTIMIZE, 2)

    def number(self, name: str) -> int | None:
        """Its own number of a call; None: it has never heard of it."""
        found = int(self._library.seccomp_syscall_resolve_name(name.encode()))
        return None if found == -1 else found

    def add(self, action: int, number: int, tests: Sequence[tuple[int, str, int, int]] = ()) -> None:
        """A rule; `tests`: argument, operator, value, second value."""
        entries = (_Comparison * len(tests))(*((place, OPERATORS[op], a, b) for place, op, a, b in tests))
        failed = self._library.seccomp_rule_add_array(self._filter, action, number, len(tests), entries)
        assert failed == 0, os.strerror(-failed)

    def program(self) -> bytes:
        """The compiled program; the filter is of no use afterwards."""
        fd = os.memfd_create("filter")
        try:
            assert self._library.seccomp_export_bpf(self._filter, fd) == 0
            return os.pread(fd, 1 << 16, 0)
        finally:
            os.close(fd)
            self._library.seccomp_release(self._filter)
