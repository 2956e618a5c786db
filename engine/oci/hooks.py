"""Hooks of config.json: programs that are told the container's state on standard input (config.md, "POSIX-platform
Hooks")."""

from __future__ import annotations

import json
import os
import select
import signal

from dosirak.engine.oci.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def run(config: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Run all of a kind, one after another. Raises Failure at the first that fails."""
    for number, hook in enumerate((config.get("hooks") or {}).get(kind) or ()):
        _run(hook, f"error running {kind} hook #{number}", json.dumps(state).encode())


def _run(hook: dict[str, Any], what: str, state: bytes) -> None:
    text = os.memfd_create("state", os.MFD_CLOEXEC)
    os.write(text, state)
    os.lseek(text, 0, os.SEEK_SET)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(text, 0)
            os.setsid()
            environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
            os.execve(hook["path"], hook.get("args") or [hook["path"]], environment)
        except BaseException as error:
            os.write(2, f"{hook.get('path')}: {error}\n".encode("utf-8", "surrogateescape"))
        finally:
            os._exit(127)
    os.close(text)
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    in_time = poll.poll(hook["timeout"] * 1000 if hook.get("timeout") else None)
    os.close(pidfd)
    if not in_time:
        os.killpg(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not in_time:
        raise Failure(f"{what}: hook ran past timeout of {hook['timeout']}s")
    if status:
        raise Failure(f"{what}: {f'exit status {status}' if status > 0 else f'signal {-status}'}")
