"""A child that borrows this process's memory until it execs: vfork(2) for Python code.

A fork of an interpreter pays twice: for its page tables, and for a copy of each page that either side touches from then
on (an object's reference count is a write). A child made by clone(2) with CLONE_VM | CLONE_VFORK pays nothing: it runs
in our memory while we are suspended, and what it leaves there (an exception, a descriptor's number) is ours to read.

A function that has called vfork must not return in the child, and Python code running in the child must have returned
before we go on, or the interpreter's own bookkeeping would describe a call that never ended. So the child walks a chain
of contexts (makecontext(3)) on a stack of its own: Python code that prepares and *returns*, then execve itself, in C,
then, should that fail, Python code that notes why, then _exit. Each context goes on to the next by `uc_link`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from ctypes import c_char_p, c_int, c_ulong, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    # What to execute: the file, its arguments and its environment.
    Program = tuple[bytes, Sequence[bytes], Sequence[bytes]]

CLONE_VM, CLONE_VFORK, CLONE_PARENT = 0x100, 0x4000, 0x8000

# PyDLL keeps the GIL: the child runs as the very thread that called.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.getcontext.argtypes = (c_void_p,)
_libc.makecontext.restype = None
_libc.clone.argtypes = (c_void_p, c_void_p, c_int, c_void_p)
_Callback = ctypes.CFUNCTYPE(None, use_errno=True)

_CONTEXT = 8192  # bytes for a ucontext_t: x86_64's has 968, aarch64's 4560
# The stacks lie in the unused depth of our own: from Python 3.14 on the interpreter checks that it runs on that one.
_DEPTH, _SIZE = 1 << 20, 1 << 18


class _Stacks:
    """Where the child's stacks lie: found out once."""

    top = 0

    @classmethod
    def find(cls) -> int:
        """The highest address of four stacks, in the part of our own that is used for nothing else. Raises OSError."""
        if not cls.top:
            soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
            if 0 <= soft < 4 * _DEPTH:
                raise OSError(errno.ENOMEM, f"the launcher's stack may have {soft} bytes; it needs {4 * _DEPTH}")
            with open("/proc/self/maps", "rb") as maps:
                line = next(line for line in maps if line.rstrip().endswith(b"[stack]"))
            cls.top = int(line.split()[0].split(b"-")[1], 16) - _DEPTH
            # Grown now: the child may lower the limit to less than this depth.
            ctypes.c_char.from_address(cls.top - 4 * _SIZE).value = b"\0"
        return cls.top


prepare_stacks = _Stacks.find


class ExecFailed(OSError):
    """execve(2) refused; `filename` is the program."""


class Killed(Exception):
    """The child was killed while it prepared: this interpreter is left in the middle of a call that never returns."""


class _Chain:
    """The contexts of one child."""

    def __init__(self, prepare: Callable[[], Program]) -> None:
        self._prepare = prepare
        self._path = b""
        self.error: BaseException | None = None
        self.prepared = False
        self._memory = ctypes.create_string_buffer(4 * _CONTEXT + 64)
        base = ctypes.addressof(self._memory) + 63 & ~63
        self.first, self._exec, self._last, self._exit = (base + number * _CONTEXT for number in range(4))
        self._kept: list[Any] = [_Callback(self._run_prepare), _Callback(self._note_failure)]
        top = _Stacks.find()
        self.stack = top
        self._make(self._exit, top - _SIZE, 0, _libc._exit, 1)
        self._make(self._last, top - 2 * _SIZE, self._exit, self._kept[1])
        self._make(self._exec, top - _SIZE, self._exit, _libc._exit, 1)
        self._make(self.first, top - 3 * _SIZE, self._exec, self._kept[0])

    def _make(self, context: int, stack: int, then: int, function: Any, *arguments: Any) -> None:
        """Parameters: `stack`: its highest address; `then`: the context after this one."""
        _libc.getcontext(context)
        # ucontext_t begins with uc_flags, uc_link and uc_stack (ss_sp, ss_flags, ss_size) on every architecture.
        start = (c_ulong * 5).from_address(context)
        start[1], start[2], start[4] = then, stack - _SIZE, _SIZE
        _libc.makecontext(c_void_p(context), function, len(arguments), *arguments)

    def _run_prepare(self) -> None:
        try:
            self._path, argv, env = self._prepare()
            lists = _strings(argv), _strings(env)
            name = c_char_p(self._path)
            self._kept += [*lists, name]
            # Rebuilt here: it also restores the signal mask, which is now the one that the program is to have.
            self._make(self._exec, self.stack - _SIZE, self._last, _libc.execve, name, *map(ctypes.byref, lists))
            self.prepared = True
        except BaseException as error:
            self.error = error

    def _note_failure(self) -> None:
        number = ctypes.get_errno()
        self.error = ExecFailed(number, os.strerror(number), self._path)


def spawn(flags: int, prepare: Callable[[], Program]) -> tuple[int, BaseException | None]:
    """Clone a child that runs `prepare` in our memory and executes what it returns.

    Parameters: `flags`: CLONE_NEW*, CLONE_FILES (a table of descriptors shared until the child unshares it),
    CLONE_PARENT (a sibling, not a child). Returns once it has exec'd or failed: its pid, and what `prepare` or
    execve(2) raised. Then it is a zombie, to be waited for by its parent. With `Killed`, all that may be done is to end this
    process. Raises OSError when it can't be cloned.
    """
    chain = _Chain(prepare)
    pid: int = _libc.clone(_libc.setcontext, chain.stack, flags | CLONE_VM | CLONE_VFORK | signal.SIGCHLD, chain.first)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    if chain.error is None and not chain.prepared:
        return pid, Killed()
    return pid, chain.error


def _strings(values: Sequence[bytes]) -> Any:
    return (c_char_p * (len(values) + 1))(*values, None)
