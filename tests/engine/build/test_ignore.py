"""Ignore rules and patterns: a table of cases, agreement between ways of matching, and hostile patterns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.build.ignore import Ignore, read_patterns
from dosirak.engine.build.pattern import _match_states, compile_pattern, match_name, tokenize
from dosirak.engine.errors import InvalidRequest


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("/a", "a", True),
        ("a/", "a/b", True),
        ("./a/../b", "b", True),
        ("*", "a", True),
        ("*", "a/b", True),
        ("*.py", "x.py", True),
        ("*.py", "d/x.py", False),
        ("*/*.py", "d/x.py", True),
        ("**/*.py", "x.py", True),
        ("**/*.py", "a/b/x.py", True),
        ("**/*.py", "a/b/x.pyc", False),
        ("**", "a/b", True),
        ("**/x", "x", True),
        ("**/x", "a/x/b", True),
        ("**/x", "ax", False),
        ("**x", "ax", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a**", "abc/d", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "ab", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[b-d]c", "acc", True),
        ("a[^b-d]c", "acc", False),
        ("a[^b-d]c", "a/c", False),
        (r"a\*c", "a*c", True),
        (r"a\*c", "abc", False),
        ("a.c", "abc", False),
        ("(a|b)+", "a", False),
        ("ünï/*", "ünï/ç", True),
    ],
)
def test_pattern_excludes_as_expected(pattern: str, path: str, excluded: bool) -> None:
    assert Ignore(read_patterns(pattern)).excludes(path) is excluded


@pytest.mark.parametrize(
    ("patterns", "included", "excluded"),
    [
        ("*\n!keep", ["keep", "keep/x"], ["a", "a/keep"]),
        ("docs\n!docs/README.md", ["docs/README.md"], ["docs", "docs/x"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README.md", "README-x.md"], ["a.md", "README-secret.md"]),
        ("**\n!**/*.py\n**/test_*", ["a/x.py"], ["a/x.js", "a/test_x.py"]),
        ("!x\nx", [], ["x"]),
        ("a/b\n!a/b/c\na/b/c/d", ["a/b/c", "a/b/c/e"], ["a/b", "a/b/x", "a/b/c/d"]),
    ],
)
def test_last_pattern_that_says_anything_wins(patterns: str, included: list[str], excluded: list[str]) -> None:
    ignore = Ignore(read_patterns(patterns))
    assert [path for path in included if ignore.excludes(path)] == []
    assert [path for path in excluded if not ignore.excludes(path)] == []


def test_ignore_file_is_read_line_by_line() -> None:
    text = "\ufeff# comment\n\n  /a/./b/  \n! /c \n#x\n # not a comment\r\n!\n"
    assert read_patterns(text) == ["a/b", "!c", "# not a comment", "!"]


def test_lone_exclamation_mark_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match='illegal exclusion pattern: "!"'):
        Ignore(["!"])


@pytest.mark.parametrize("pattern", ["[", "a[", "[]a]", "[-]", "[a-", "[b-a]", "a\\", "[^]"])
def test_malformed_pattern_is_an_error(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="syntax error in pattern"):
        Ignore([pattern])


def test_directory_is_walked_only_where_something_may_be_taken_back_in() -> None:
    ignore = Ignore(["a", "b", "c", "!a/x/y", "!b/*/z"])
    assert ignore.may_include_below("a") and ignore.may_include_below("a/x") and ignore.may_include_below("b/q")
    assert not ignore.may_include_below("c") and not ignore.may_include_below("a/z")


def test_source_wildcards_stay_within_a_name() -> None:
    assert match_name("a**/x")("ab/x")
    assert not match_name("a**/x")("a/b/x")
    assert match_name("[a-c]?.t*")("b1.txt")


def test_hostile_pattern_does_not_hold_up_the_engine() -> None:
    began = time.process_time()
    ignore = Ignore(["*a" * 40 + "*b", "**/" * 30 + "b"])
    assert not ignore.excludes("a" * 250) and not ignore.excludes("/".join("a" * 200))
    assert time.process_time() - began < 5


parts = st.text(alphabet="ab.", min_size=1, max_size=3)
paths = st.lists(parts.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)
WILD = ["*", "**", "?", "[ab]", "[^a]", "a*", "*b", "**a", "a**"]
patterns = st.lists(st.one_of(parts, st.sampled_from(WILD)), min_size=1, max_size=4).map("/".join)


@given(patterns, paths)
def test_every_way_of_matching_gives_the_same_answer(pattern: str, path: str) -> None:
    tokens = tokenize(pattern)
    expected = _match_states(tokens, path)
    if pattern.startswith("**") and not pattern.startswith("**/"):
        return  # `**x` alone means "ends in x": a case of its own
    assert compile_pattern(pattern)(path) is expected


@given(st.lists(st.one_of(patterns, patterns.map("!{}".format)), max_size=5), paths)
def test_walking_and_asking_give_the_same_answer(rules: list[str], path: str) -> None:
    ignore = Ignore(rules)
    state, excluded, pruned = None, False, False
    names = path.split("/")
    for end in range(1, len(names) + 1):
        current = "/".join(names[:end])
        excluded, state = ignore.step(current, state)
        if excluded and end < len(names) and not ignore.may_include_below(current):
            pruned = True
    assert excluded is ignore.excludes(path)
    if pruned:
        assert excluded


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_raises_the_one_error(text: str) -> None:
    try:
        Ignore(read_patterns(text)).excludes("some/path")
    except InvalidRequest:
        pass
