"""Staying with a container's process until it ends: its signals are ours, its end is ours."""

from __future__ import annotations

import os

from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import signals as signal

PASSED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
    *(signal.SIGCONT, signal.SIGWINCH),
)
"""What is passed on."""


def check(*, terminal: bool, detached: bool, sock: str) -> None:
    """Raises Failure where a terminal has nobody to serve it."""
    if sock and not (terminal and detached):
        raise Failure("cannot use console socket if runtime will not detach or allocate tty")
    if terminal and detached and not sock:
        raise Failure("cannot allocate tty if runtime will detach without setting console socket")


def stay(pid: int, terminal: int) -> int:
    """Until a child has ended. Parameters: `terminal`: its terminal's master, or -1. Its exit status, 128 + n after
    signal n."""
    if terminal >= 0:
        from dosirak.engine.oci import console

        return console.serve(pid, terminal)
    awaited = {*PASSED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # a blocked signal waits: none comes between look and wait
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status_of(status)
        number = signal.sigwaitinfo(awaited).si_signo
        if number not in (signal.SIGCHLD, signal.SIGWINCH):
            os.kill(pid, number)  # it is ours to reap: the number is nobody else's yet


def status_of(status: int) -> int:
    """The exit status that a shell would give."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
