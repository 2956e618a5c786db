"""The shell behind a page, without an engine."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dosirak.magics.errors import Interrupted
from dosirak.magics.pages import shell
from dosirak.magics.pages.shell import Shell


@pytest.mark.parametrize("statement", ["sleep 1000", "(trap '' INT; sleep 1000)"])
def test_an_interrupt_ends_what_runs_even_if_that_takes_no_notice(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "_PATIENCE", 0.5)
    before = len(os.listdir("/proc/self/fd"))
    interrupted = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted), Shell(lambda stream, data: None) as page:
        process = page._process
        interrupted.start()
        page.run(statement)
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):  # its whole group is gone
        for _ in range(100):
            os.killpg(process.pid, 0)
            threading.Event().wait(0.05)
    assert len(os.listdir("/proc/self/fd")) == before
