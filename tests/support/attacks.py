"""How many attacks a session tried, and with how many controls: the last line of `make test-security`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest


class Attacks:
    """Counts tests: all of them try something; the control of a test says so in its name, text or comments."""

    def __init__(self) -> None:
        self.tried = self.controls = self.succeeded = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report = yield
        function = getattr(item, "function", None)
        if function is not None and "control" in inspect.getsource(function):
            report.user_properties.append(("control", True))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called in the controller, for every worker's tests."""
        if report.when == "call" and not report.skipped:
            self.tried += 1
            self.succeeded += report.failed
            self.controls += ("control", True) in report.user_properties

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        got = f"{self.succeeded} got through" if self.succeeded else "none got through"
        terminalreporter.write_line(f"attacks: {self.tried} tried, {self.controls} with a control; {got}")
