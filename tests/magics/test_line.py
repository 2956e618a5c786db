"""A magic's line becomes arguments: quoting, Python values, nothing of a shell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.magics.errors import UsageError
from dosirak.magics.line import split


class Named:
    def __str__(self) -> str:
        return "web server"


NAMES: dict[str, Any] = {
    "name": "a; rm -rf / 'x\"",
    "number": 8080,
    "ids": ["one", "two words"],
    "empty": [],
    "box": {"key": "v w"},
    "c": Named(),
}

CASES = [
    ("run --rm busybox true", ["run", "--rm", "busybox", "true"]),
    ("  run   x  ", ["run", "x"]),
    ("run sh -c 'echo $HOME {x} && true'", ["run", "sh", "-c", "echo $HOME {x} && true"]),
    ('run "a  b" c', ["run", "a  b", "c"]),
    ('run "say \\"hi\\" \\$name"', ["run", 'say "hi" $name']),
    ("run a\\ b '' \"\"", ["run", "a b", "", ""]),
    ("run 'a'b\"c\"", ["run", "abc"]),
    ("ps -a  # all of them", ["ps", "-a"]),
    ("run x#y", ["run", "x#y"]),
    ("run $name", ["run", "a; rm -rf / 'x\""]),
    ("run {name}", ["run", "a; rm -rf / 'x\""]),
    ('run "-e X={name}"', ["run", "-e X=a; rm -rf / 'x\""]),
    ("run -e X=$name -p {number}:80", ["run", "-e", "X=a; rm -rf / 'x\"", "-p", "8080:80"]),
    ("run {number + 1}", ["run", "8081"]),
    ('run {box["key"]}', ["run", "v w"]),
    ("run {f'{number:>6}'}", ["run", "  8080"]),
    ("rm {ids}", ["rm", "one", "two words"]),
    ("rm $ids -f", ["rm", "one", "two words", "-f"]),
    ("rm {empty} x", ["rm", "x"]),
    ("rm x{ids[0]}y", ["rm", "xoney"]),
    ("rm $c {c}", ["rm", "web server", "web server"]),
    ("run $UNKNOWN ${HOME} {} {unknown} {a,b}", ["run", "$UNKNOWN", "${HOME}", "{}", "{unknown}", "{a,b}"]),
    ("ps --format {{.Names}}", ["ps", "--format", "{{.Names}}"]),
    ("ps --format '{{.Names}}: {{.ID}}'", ["ps", "--format", "{{.Names}}: {{.ID}}"]),
    ('ps --format "table {{.Names}}\\t{{.ID}}"', ["ps", "--format", "table {{.Names}}\\t{{.ID}}"]),
    ("ps --format '{{json .}}'", ["ps", "--format", "{{json .}}"]),
    ("inspect -f '{{index .Config.Env 0}}' x", ["inspect", "-f", "{{index .Config.Env 0}}", "x"]),
    ("run x $(docker ps) `id`", ["run", "x", "$(docker", "ps)", "`id`"]),
    ("run sh -c 'a | b' ';'", ["run", "sh", "-c", "a | b", ";"]),
    ("run a\\\n b", ["run", "a", "b"]),
    ("run 日本 ü", ["run", "日本", "ü"]),
    ("", []),
    ("# only a comment", []),
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_a_line_is_split_as_a_shell_would_and_expanded_as_python(line: str, expected: list[str]) -> None:
    assert split(line, NAMES) == expected


@pytest.mark.parametrize("line", ["ps | grep x", "run x > out", "run x >>out", "run a && b", "run a ; b", "run x 2>&1"])
def test_a_shell_s_operator_is_refused_instead_of_passed_on(line: str) -> None:
    with pytest.raises(UsageError, match="no shell runs this line"):
        split(line)


@pytest.mark.parametrize("line", ["run 'x", 'run "x', "run a'b c"])
def test_an_open_quote_is_told(line: str) -> None:
    with pytest.raises(UsageError, match="no closing quotation"):
        split(line)


def test_a_failing_expression_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"\{number / 0\}: ZeroDivisionError: division by zero"):
        split("run {number / 0}", NAMES)


@given(st.text())
def test_any_value_stays_one_argument(value: str) -> None:
    assert split("run {value} $value 'x'", {"value": value}) == ["run", value, value, "x"]


@given(st.text(alphabet=st.characters(blacklist_characters="'", blacklist_categories=("Cs",))))
def test_single_quotes_keep_anything(text: str) -> None:
    assert split(f"'{text}'", NAMES) == [text]
