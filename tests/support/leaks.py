"""The session's watch: what was on the machine at its start must be all that is there at its end.

Runs once, in the controller (the process that starts pytest-xdist's workers, or the only one), after every fixture
of every worker is torn down. A thing left behind is an error of the run, listed by name.

Others may use the same machine. A service is ours by a mark in its environment. Launchers, monitors, containers,
links, cgroups and rules bear no mark: they are judged by difference, unless an engine or a test session that is not
ours runs too, which is then said.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import host
from support.engines import BASE_VARIABLE, alive
from support.patience import patient

_PREFIX = "dsk-"
_PATIENCE = patient(10.0)
"""Seconds that background clean-up (links, cgroups of the just ended) may take."""


class LeakWatch:
    """Snapshot at the start, comparison at the end."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
        self.base.chmod(0o711)
        os.environ[BASE_VARIABLE] = str(self.base)
        self._before = host.everything()
        self._before_pids = {process.pid for process in host.engine_processes(BASE_VARIABLE)}
        self._foreign = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare, after pytest-xdist has ended its workers."""
        left = self._settle()
        self._sweep(left)
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        if left:
            text = "Left behind by this run:\n" + "\n".join(f"  {line}" for line in sorted(map(str, left)))
            reporter.stats.setdefault("error", []).append(_report(text))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._verdict = (
            "something was left behind, see above"
            if left
            else "no process, mount, link, cgroup, nf_tables table, netns or folder left behind"
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found, also when nothing was."""
        note = (
            " (another engine or test session runs here: what bears no mark of ours is not judged)"
            if self._foreign
            else ""
        )
        terminalreporter.write_line(f"leak check: {getattr(self, '_verdict', 'not made')}{note}")

    def _settle(self) -> set[object]:
        deadline = time.monotonic() + _PATIENCE
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def _left(self) -> set[object]:
        left: set[object] = set()
        unmarked: set[object] = set()
        self._foreign = any(_other_sessions(self.base))
        for process in host.engine_processes(BASE_VARIABLE):
            if process.mark == str(self.base) or str(self.base) in process.command:
                left.add(process)
            elif process.others or process.pid in self._before_pids or process.mark is not None or process.is_service:
                self._foreign = True
            else:
                unmarked.add(process)
        new = host.everything() - self._before
        if self._foreign:
            new, unmarked = {line for line in new if str(self.base) in line}, set()
        folders = {f"folder {path}" for path in self.base.iterdir()}
        return left | unmarked | new | folders

    def _sweep(self, left: set[object]) -> None:
        """End our processes and remove our folder: a failed run must not spoil the next."""
        for thing in left:
            if isinstance(thing, host.Process):
                try:
                    os.kill(thing.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        shutil.rmtree(self.base, ignore_errors=True)
        host.remove_empty_parents()


def _other_sessions(base: Path) -> Iterator[Path]:
    """Folders of test sessions that run at this moment."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if folder != base and pid.isdigit() and alive(int(pid)):
            yield folder


def _report(text: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="leak check",
        location=("tests/support/leaks.py", 0, "leak check"),
        keywords={},
        outcome="failed",
        longrepr=text,
        when="teardown",
    )
