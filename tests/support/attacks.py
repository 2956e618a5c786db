"""How many attacks of `tests/security/attacks.toml` a session tried, and with how many controls: the last line of
`make test-security`. An attack is one however many tests try it; it got through if one of them failed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).resolve().parents[1]
LIST = TESTS / "security/attacks.toml"


class Attack(NamedTuple):
    """`by`: the functions that try it, as "FILE::NAME" below tests/; `control`: the one that shows that they would see
    a success, "" if there is none."""

    name: str
    by: tuple[str, ...]
    control: str = ""


def listed() -> list[Attack]:
    """All of them."""
    groups: dict[str, dict[str, dict[str, list[str] | str | bool]]] = tomllib.loads(LIST.read_text())
    found = []
    for group in groups.values():
        for name, entry in group.items():
            by, control = entry["by"], entry.get("control", "")
            assert isinstance(by, list)
            found.append(Attack(name, tuple(by), by[0] if control is True else str(control)))
    return found


def function_of(node_id: str) -> str:
    """A test's function as the list names it."""
    return node_id.partition("[")[0].removeprefix("tests/")


class Attacks:
    """Counts by what became of the tests."""

    def __init__(self) -> None:
        self.tests = 0
        self.ran: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called in the controller, for every worker's tests."""
        if report.when == "call" and not report.skipped:
            self.tests += 1
            self.ran.add(function_of(report.nodeid))
        if report.failed and report.when != "setup":  # also afterwards, when the host is looked at
            self.failed.add(function_of(report.nodeid))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        attacks = listed()
        tried = [attack for attack in attacks if self.ran & set(attack.by)]
        controls = sum(attack.control in self.ran - self.failed for attack in tried)
        through = [attack.name for attack in tried if self.failed & set(attack.by)]
        for attack in attacks:
            if attack not in tried:
                terminalreporter.write_line(f"not tried here: {attack.name}")
        for name in through:
            terminalreporter.write_line(f"got through: {name}")
        got = f"{len(through)} got through" if through else "none got through"
        terminalreporter.write_line(
            f"attacks: {len(tried)} tried, {controls} with a control; {got} ({self.tests} tests)"
        )
