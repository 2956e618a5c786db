"""How many attacks a session tried, and with how many controls: the last line of `make test-security`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

_CONTROL = re.compile(r"\bcontrols?\b(?! groups?\b)|\btest_control_")


class Attacks:
    """Counts tests: all of them try something; the control of a test says so in its name, text or comments."""

    def __init__(self) -> None:
        self.tried = self.controls = 0
        self.succeeded: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report = yield
        function = getattr(item, "function", None)
        if function is not None and _CONTROL.search(inspect.getsource(function)):
            report.user_properties.append(("control", True))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called in the controller, for every worker's tests."""
        if report.when == "call" and not report.skipped:
            self.tried += 1
            self.controls += ("control", True) in report.user_properties
        if report.failed and report.when != "setup":  # also afterwards, when the host is looked at
            self.succeeded.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        got = f"{len(self.succeeded)} got through" if self.succeeded else "none got through"
        terminalreporter.write_line(f"attacks: {self.tried} tried, {self.controls} with a control; {got}")
