"""The compiled half of `ctypes`, as far as `syscalls` and `vfork` use it: its other half takes as long to import as a
tenth of a container's start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _ctypes import CFuncPtr
    from ctypes import (
        Structure,
        addressof,
        byref,
        c_char,
        c_char_p,
        c_int,
        c_long,
        c_size_t,
        c_uint,
        c_uint64,
        c_ulong,
        c_ushort,
        c_void_p,
        get_errno,
        sizeof,
    )
    from typing import Any

    FUNCFLAG_CDECL = FUNCFLAG_PYTHONAPI = FUNCFLAG_USE_ERRNO = 0

    def dlopen(name: str | None, flags: int) -> int: ...
else:
    from _ctypes import (
        FUNCFLAG_CDECL,
        FUNCFLAG_PYTHONAPI,
        FUNCFLAG_USE_ERRNO,
        CFuncPtr,
        Structure,
        _SimpleCData,
        addressof,
        byref,
        dlopen,
        get_errno,
        sizeof,
    )

    def _simple(letter: str) -> type[_SimpleCData]:
        return type(_SimpleCData)(f"c_{letter}", (_SimpleCData,), {"_type_": letter})

    c_char, c_char_p, c_void_p, c_ushort, c_int, c_uint, c_long, c_ulong = map(_simple, "czPHiIlL")
    c_size_t = c_uint64 = c_ulong  # of 64-bit machines, the only ones there are (`syscalls`)

__all__ = [
    "Library",
    "Structure",
    "addressof",
    "at",
    "byref",
    "c_char",
    "c_char_p",
    "c_int",
    "c_long",
    "c_size_t",
    "c_uint",
    "c_uint64",
    "c_ulong",
    "c_ushort",
    "c_void_p",
    "callback",
    "get_errno",
    "sizeof",
]


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = c_int


class _HeldFunction(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO | FUNCFLAG_PYTHONAPI
    _restype_ = c_int


class _Callback(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL
    _restype_ = c_int
    _argtypes_ = (c_void_p,)


class Library:
    """All that this process has loaded: the functions of libc."""

    def __init__(self, *, held: bool = False) -> None:
        """Parameters: `held`: its functions keep the GIL while they run."""
        self._handle = dlopen(None, 0)
        self._kind: Any = _HeldFunction if held else _Function

    def __getitem__(self, name: str) -> Any:
        """A function of its own, to be given its types."""
        return self._kind((name, self))


def callback(function: Any) -> Any:
    """A C function `int f(void *)` that calls this."""
    return _Callback(function)


def at(address: int) -> Any:
    """The function at this address, to be given its types; it keeps the GIL while it runs."""
    return _HeldFunction(address)
