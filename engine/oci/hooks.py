"""Hooks of config.json: programs that are told the container's state on standard input (config.md, "POSIX-platform
Hooks")."""

from __future__ import annotations

import os
import time

from dosirak.engine.oci import documents
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import process, steps
from dosirak.engine.runtime import signals as signal
from dosirak.engine.runtime import syscalls as sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def pack(state: dict[str, Any]) -> bytes:
    """The state, on its way to whoever runs hooks."""
    return documents.dumps(state).encode()


def unpack(data: bytes) -> dict[str, Any]:
    """What `pack` made."""
    found: dict[str, Any] = documents.loads(data)
    return found


def run(config: dict[str, Any], kind: str, state: dict[str, Any], *, inside: list[str] | None = None) -> None:
    """Run all of a kind, one after another. Parameters: `inside`: the environment that those inside the container have
    unless they say another. Raises Failure at the first that fails."""
    for number, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
        try:
            _run(hook, pack(state), inside)
        except Failure as failure:
            raise Failure(f"error running {kind} hook #{number}: {failure}") from failure


def _run(hook: dict[str, Any], state: bytes, inherited: list[str] | None) -> None:
    streams = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("state", "stdout", "stderr")]
    os.write(streams[0], state)
    os.lseek(streams[0], 0, os.SEEK_SET)
    # Blocked, it waits until it is asked for. Nothing is imported here: this may be the container's root already.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    pid = os.fork()
    if pid == 0:
        _become(hook, streams, inherited)
    in_time, status = _wait(pid, hook.get("timeout"))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    said = [os.pread(stream, 4096, 0).decode("utf-8", "replace").strip() for stream in streams[1:]]
    for stream in streams:
        os.close(stream)
    if not in_time:
        raise Failure(f"hook ran past specified timeout of {float(hook['timeout'])}s")
    if status:
        ended = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise Failure(f"{ended}, stdout: {said[0]}, stderr: {said[1]}")


def _wait(pid: int, timeout: int | None) -> tuple[bool, int]:
    """Whether it ended before so many seconds were over (None: no matter), and its exit status, -n after signal n."""
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return True, os.waitstatus_to_exitcode(status)
        if deadline is None:
            signal.sigwait((signal.SIGCHLD,))
        elif signal.sigtimedwait((signal.SIGCHLD,), max(deadline - time.monotonic(), 0)) is None:
            os.killpg(pid, signal.SIGKILL)
            return False, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(hook: dict[str, Any], streams: list[int], inherited: list[str] | None) -> None:
    """One inside the container is the image's program: it never is executed by a Python of ours (`runtime.steps`)."""
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.setsid()
        process.reset_signals()
        args = [os.fsencode(word) for word in hook.get("args") or [hook["path"]]]
        entries = hook.get("env") or inherited
        if entries is None:
            os.execv(hook["path"], args)
        env = [os.fsencode(entry) for entry in entries or ()]
        if inherited is None:
            sys.execve(os.fsencode(hook["path"]), args, env)
        last, what = steps.Steps(os.uname().machine, -1), f"exec {hook['path']}"
        os.dup2(0, 3)
        last.add("close", 3, what=what)  # there only once: a hook that names /proc/self/exe comes here again
        last.add("execve", os.fsencode(hook["path"]), last.strings(args), last.strings(env), what=what)
        sys.execveat(steps.open_program(last), [b"dosirak", b"hook"], [])
    except BaseException as error:
        os.write(2, f"{hook.get('path')}: {error}\n".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(127)
