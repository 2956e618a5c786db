"""A child that borrows this process's memory until it execs: vfork(2) for Python code.

A fork of an interpreter pays twice: for its page tables, and for a copy of each page that either side touches from then
on (an object's reference count is a write). A child made by clone(2) with CLONE_VM | CLONE_VFORK pays nothing: it runs
in our memory while we are suspended, and what it leaves there (an exception, a descriptor's number) is ours to read.

The price: once it has exec'd, the interpreter's own bookkeeping describes a call that never ends. The frames of that
call lie on a stack of the child's own, so nothing of ours is overwritten; but this process should say what it has to
say, and end. (The calls that end in another program keep the GIL: released by the child, nobody would take it again.)
"""

from __future__ import annotations

import errno
import os
import resource

from dosirak.engine.runtime import foreign
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime.foreign import c_int, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_VM, CLONE_VFORK, CLONE_PARENT = 0x100, 0x4000, 0x8000

# It keeps the GIL: the child runs as the very thread that called.
_clone = foreign.Library(held=True)["clone"]
_clone.argtypes = (c_void_p, c_void_p, c_int, c_void_p)

# The child's stack lies in the unused depth of our own: from Python 3.14 on the interpreter checks that it is there.
_DEPTH, _SIZE = 1 << 20, 1 << 20


class _Stack:
    """Where the child's stack begins: found out once."""

    top = 0

    @classmethod
    def find(cls) -> int:
        """Its highest address. Raises OSError."""
        if not cls.top:
            soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
            if 0 <= soft < 2 * (_DEPTH + _SIZE):
                wanted = 2 * (_DEPTH + _SIZE)
                try:
                    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard if hard < 0 else max(hard, wanted)))
                except ValueError as error:
                    text = f"the launcher's stack may have {hard} bytes at most; it needs 4 MiB (ulimit -Hs)"
                    raise OSError(errno.ENOMEM, text) from error
            with open("/proc/self/maps", "rb") as maps:
                line = next(line for line in maps if line.rstrip().endswith(b"[stack]"))
            cls.top = int(line.split()[0].split(b"-")[1], 16) - _DEPTH
            # Grown now: the child may lower the limit to less than this depth.
            foreign.c_char.from_address(cls.top - _SIZE).value = b"\0"
        return cls.top


prepare_stack = _Stack.find


def spawn(flags: int, run: Callable[[], None]) -> tuple[int, BaseException | None]:
    """Clone a child that calls `run` in our memory, which ends in execve(2) or raises.

    Parameters: `flags`: CLONE_NEW*, CLONE_FILES (a table of descriptors shared until the child unshares it),
    CLONE_PARENT (a sibling, not a child). Returns once the child has exec'd or ended, with its pid and what `run`
    raised; it is then to be waited for by its parent. Raises OSError when it can't be cloned.
    """
    raised: list[BaseException] = []

    def child(_argument: int | None) -> int:
        try:
            run()
        except BaseException as error:
            raised.append(error)
        return 1

    called, stack = foreign.callback(child), _Stack.find()
    flags |= CLONE_VM | CLONE_VFORK | signal.SIGCHLD

    def clone(_: None) -> int:
        return int(_clone(called, stack, flags, None))

    # From a function that C calls (`map`): on its return the interpreter takes up again the frame that it had before,
    # whatever the child has left as the current one. Without this, `exec` or an import later on would look at that.
    pid = next(map(clone, (None,)))
    if pid < 0:
        number = foreign.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    return pid, raised[0] if raised else None
