"""Word expansion: a table of texts and what becomes of them, the modifiers, and properties of any text."""

from __future__ import annotations

import fnmatch
import re
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosirak.engine.build.dockerfile import glob
from dosirak.engine.build.dockerfile.expand import Mode, examine, expand, expand_words
from dosirak.engine.build.errors import DockerfileError

VARIABLES = {"HOME": "/root", "EMPTY": "", "P": "/usr/lib/x.tar.gz", "STARS": "a*b*c", "SPACES": " a  b ", "N": "1\n2"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$HOME/x", "/root/x"),
        ("${HOME}x$NOPE.", "/rootx."),
        ("'$HOME'", "$HOME"),
        ('"$HOME a"', "/root a"),
        (r"\$HOME \'\"", "$HOME '\""),
        (r'"\$HOME \a \\ \""', '$HOME \\a \\ "'),
        ("$", "$"),
        ("a$.b", "a$.b"),
        ("end\\", "end"),
        ("$12x$@$$", "x"),
        ("${HOME:-x} ${EMPTY:-x} ${EMPTY-x} ${NOPE-x}", "/root x  x"),
        ("${HOME:+x} ${EMPTY:+x} ${EMPTY+x} ${NOPE+x}", "x  x "),
        ("${NOPE:-${HOME:+in $HOME}}", "in /root"),
        ("${NOPE:-'single $HOME' \"double $HOME\"}", "single $HOME double /root"),
        ("${HOME:?not needed}", "/root"),
        ("${P#*/} ${P##*/} ${P%.*} ${P%%.*}", "usr/lib/x.tar.gz x.tar.gz /usr/lib/x.tar /usr/lib/x"),
        ("${P#nomatch} ${P%nomatch}", "/usr/lib/x.tar.gz /usr/lib/x.tar.gz"),
        ("${P/r/R} ${P//r/R} ${P//\\//-}", "/usR/lib/x.tar.gz /usR/lib/x.taR.gz -usr-lib-x.tar.gz"),
        ("${P/?i?/L}", "/usr/L/x.tar.gz"),
        ("${STARS//\\*/} ${STARS/\\**/} ${STARS%\\**}", "abc a a*b"),
        ("${P//z*/} ${P##*}", "/usr/lib/x.tar.g "),
        ("${N#*}", "1\n2"),
        ("${N##?}", "\n2"),
        ("한${HOME}국", "한/root국"),
    ],
)
def test_text_expands_as_expected(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("'open", "unexpected end of statement while looking for matching single-quote"),
        ('"open', "unexpected end of statement while looking for matching double-quote"),
        ("${", "syntax error: missing '}'"),
        ("${HOME", "syntax error: missing '}'"),
        ("${HOME:-x", "syntax error: missing '}'"),
        ("${HOME/x", "syntax error: missing '/' in ${}"),
        ("${HOME/x/y", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${HOME:=x}", "unsupported modifier (:=) in substitution"),
        ("${HOME:#x}", "unsupported modifier (:#) in substitution"),
        ("${HOME^}", "unsupported modifier (^) in substitution"),
        ("${NOPE?}", "NOPE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NOPE:?say $HOME}", "NOPE: say /root"),
        ("${HOME#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
    ],
)
def test_wrong_text_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        expand(text, VARIABLES)
    assert caught.value.problem == f'failed to process "{text}": {problem}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("a$SPACES", ["a", "a", "b"]),
        ('"$SPACES"x', [" a  b x"]),
        (r"a\ b", ["a b"]),
        ("''", []),
        ("<< EOF x", ["<< EOF", "x"]),
    ],
)
def test_words_split_after_expansion_but_not_inside_quotes(text: str, expected: list[str]) -> None:
    assert expand_words(text, VARIABLES) == expected


def test_backtick_escapes_when_the_file_says_so() -> None:
    assert expand(r"c:\$HOME`$HOME", VARIABLES, Mode(escape="`")) == r"c:\/root$HOME"


def test_quotes_are_plain_in_a_document() -> None:
    assert expand('don\'t "$HOME" \\$HOME\n', VARIABLES, Mode(plain_quotes=True)) == 'don\'t "/root" $HOME\n'


def test_raw_modes_keep_what_they_are_named_for() -> None:
    mode = Mode(raw_quotes=True, raw_escapes=True, skip_unset=True)
    text = "'a' \"b\" \\c $NOPE ${NOPE:-x} ${NOPE/a/b}"
    assert expand(text, {}, mode) == text


def test_names_used_and_missing_are_told() -> None:
    told = examine("$HOME ${NOPE:-$EMPTY} '$QUOTED'", VARIABLES)
    assert (told.used, told.missing) == ({"HOME", "EMPTY"}, {"NOPE"})


def test_growing_without_end_is_refused() -> None:
    with pytest.raises(DockerfileError, match="longer than a million"):
        expand("$A" * 11, {"A": "x" * 100_000})


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DockerfileError, match="nested too deeply"):
        expand("${A:-" * 5000 + "}" * 5000, {})


@pytest.mark.parametrize("text", ["${A##*a*a*a*a*a*a*a*a*b}", "${A//*a*a*a*a*a*a*a*b/x}", "${A%%b*a*a*a*a*a*a*}"])
def test_hostile_pattern_does_not_hold_up_the_engine(text: str) -> None:
    began = time.process_time()
    try:
        expand(text, {"A": "a" * 20_000})
    except DockerfileError as error:
        assert "takes too long" in error.problem
    assert time.process_time() - began < 10


SPECIAL = [*"${}:-+?#%/\\'\"` <", "$HOME", "${HOME", ":-", "//"]
words = st.lists(st.one_of(st.sampled_from(SPECIAL), st.text(max_size=3)), max_size=20).map("".join)
modes = st.builds(Mode, st.sampled_from("\\`"), st.booleans(), st.booleans(), st.booleans(), st.booleans())


@given(words, modes)
def test_any_text_expands_or_raises_the_one_error(text: str, mode: Mode) -> None:
    try:
        expanded = examine(text, VARIABLES, mode)
    except DockerfileError:
        return
    assert all(expanded.words)


@given(st.text(alphabet=string.ascii_letters + " \t$'\"\\${}"))
def test_single_quoted_text_comes_out_as_it_went_in(text: str) -> None:
    quoted = "'" + text.replace("'", "") + "'"
    assert expand(quoted, VARIABLES) == text.replace("'", "")


@given(st.text())
def test_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    assert expand("".join(f"\\{char}" for char in text), VARIABLES) == text


patterns = st.text(alphabet="ab*?", max_size=8)
values = st.text(alphabet="abc", max_size=12)


@given(values, patterns, st.booleans())
def test_trimming_agrees_with_trying_every_cut(value: str, pattern: str, longest: bool) -> None:
    regex = re.compile(fnmatch.translate(pattern))
    cuts = range(len(value) + 1)
    fitting = [cut for cut in cuts if regex.match(value[:cut])]
    expected = value[(max if longest else min)(fitting) :] if fitting else value
    assert glob.trim_prefix(value, pattern, longest) == expected
    mirrored = glob.trim_suffix(value[::-1], pattern[::-1], longest)[::-1]
    assert mirrored == expected


@given(values, st.text(alphabet="ab?*", min_size=1, max_size=5), st.booleans())
def test_replacing_agrees_with_a_regular_expression(value: str, pattern: str, everywhere: bool) -> None:
    regex = re.compile("".join({"*": ".*", "?": "."}.get(char, char) for char in pattern))
    expected = regex.sub("<>", value, count=0 if everywhere else 1)
    if regex.match(""):  # Go and Python count empty matches after a match differently; ours are Go's
        return
    assert glob.substitute(value, pattern, "<>", everywhere) == expected
