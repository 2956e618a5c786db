"""The list of attacks names what there is: tests, and controls that are some."""

from __future__ import annotations

import ast
import re
from functools import cache

from support.attacks import TESTS, Attack, Attacks, listed

CONTROL = re.compile(r"\bcontrols?\b(?! groups?\b)")


@cache
def functions(file: str) -> dict[str, str]:
    """The text of each test in a file."""
    text = (TESTS / file).read_text()
    lines = text.splitlines()
    return {
        node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def text_of(name: str) -> str:
    file, _, function = name.partition("::")
    return functions(file).get(function, "")


def test_every_attack_is_tried_by_tests_that_there_are() -> None:
    missing = [name for attack in listed() for name in attack.by if not text_of(name)]
    assert missing == []
    assert len(listed()) > 100


def test_every_control_is_there_and_one_inside_a_test_is_called_so() -> None:
    controls = {attack.control: attack for attack in listed() if attack.control}
    assert [name for name in controls if not text_of(name)] == []
    inside = {name for name, attack in controls.items() if name in attack.by}
    unnamed = {name for name in inside if not CONTROL.search(text_of(name))}
    assert unnamed == set()


def test_an_attack_is_counted_once_and_got_through_if_any_of_its_tests_failed() -> None:
    first, second = listed()[:2]
    seen = Attacks()
    lines: list[str] = []

    class Reporter:
        write_line = staticmethod(lines.append)

    for name, outcome in ((first.by[0], "passed"), (first.control, "passed"), (second.by[0], "failed")):
        for parameter in ("one", "two"):
            seen.pytest_runtest_logreport(report(f"tests/{name}[{parameter}]", outcome))
    seen.pytest_terminal_summary(Reporter())  # type: ignore[arg-type]
    assert lines[-1] == "attacks: 2 tried, 1 with a control; 1 got through (6 tests)"
    assert f"got through: {second.name}" in lines
    assert sum(line.startswith("not tried here: ") for line in lines) == len(listed()) - 2
    assert isinstance(first, Attack)


def report(node_id: str, outcome: str):  # type: ignore[no-untyped-def]
    """What pytest says of a test's call."""
    import pytest

    return pytest.TestReport(node_id, ("", 0, ""), {}, outcome, None, "call")  # type: ignore[arg-type]
