"""The corners of the language, one line each: here-documents' words, directives, JSON forms, lines, white space.

The cases are those that BuildKit's own tests look at (frontend/dockerfile/parser, instructions, shell).
"""

from __future__ import annotations

import pytest

from dosirak.engine.build.dockerfile import expand, expand_words, parse
from dosirak.engine.build.dockerfile.heredoc import opener, openers
from dosirak.engine.build.dockerfile.line import parse_line
from dosirak.engine.build.errors import DockerfileError


@pytest.mark.parametrize(
    "word", ["<<X", "<<'X'", '<<"X"', "<<-X", "<<-'X'", '<<-"X"', '<<X""', "<< X", "<<- X", "3<<X"]
)
def test_word_opens_a_document(word: str) -> None:
    found = opener(word)
    assert found is not None and found.name == "X"
    assert (found.strip_tabs, found.descriptor) == ("-" in word, 3 if word.startswith("3") else 0)
    assert found.expand == (not any(quote in word for quote in "'\""))


@pytest.mark.parametrize("word", ["", "X", "<<", "<<-", "<X", "<<<X", "<<X sh", "x<<X"])
def test_word_opens_no_document(word: str) -> None:
    assert opener(word) is None


@pytest.mark.parametrize("word", ["<<'X", '<<"X', "<<X'", '<<X"'])
def test_document_with_an_open_quote_is_refused(word: str) -> None:
    with pytest.raises(DockerfileError, match="looking for matching"):
        opener(word)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("RUN <<X", ["X"]),
        ("RUN <<- X", []),  # as in BuildKit: the blank ends the word
        ("RUN << -X", ["-X"]),
        ("RUN 4<<X <<Y", ["X", "Y"]),
        ("RUN cat <<X | sh -s <<'Y'", ["X", "Y"]),
        ("RUN '<<X'", []),
        ('RUN "<<X"', []),
        ("RUN <<<X", []),
        ("RUN echo a<<X", []),
    ],
)
def test_line_opens_its_documents_in_order(line: str, names: list[str]) -> None:
    assert [found.name for found in openers(line)] == names


@pytest.mark.parametrize(
    ("text", "directives", "escape"),
    [
        ("#escape=`\nFROM a", [("escape", "`")], "`"),
        ("# ESCAPE = `\nFROM a", [("escape", "`")], "`"),
        ("# key=x\n# escape=`\nFROM a", [], "\\"),
        ("\n# escape=`\nFROM a", [], "\\"),
        ("FROM a\n# escape=`\nRUN b", [], "\\"),
        ("# syntax=docker/dockerfile:1 // why\n#escape=\\\nFROM a", None, "\\"),
        ("\ufeff# escape=`\nFROM a", [("escape", "`")], "`"),
        ("# check=skip=all\n# syntax=x\nFROM a", [("check", "skip=all"), ("syntax", "x")], "\\"),
    ],
)
def test_directives_are_read_at_the_top_alone(text: str, directives: list[tuple[str, str]] | None, escape: str) -> None:
    file = parse(text)
    expected = [("syntax", "docker/dockerfile:1 // why"), ("escape", "\\")] if directives is None else directives
    assert [(found.name, found.value) for found in file.directives] == expected
    assert file.escape == escape


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("[]", ()),
        ('[""]', ("",)),
        ('["a"]', ("a",)),
        (' [ "a" , "b" ] ', ("a", "b")),
        ('["\\u2603 \\n"]', ("☃ \n",)),
    ],
)
def test_json_form_is_a_list_of_words(rest: str, words: tuple[str, ...]) -> None:
    node = parse_line(f"CMD {rest}", "\\")
    assert (node.json, node.args) == (True, words)


@pytest.mark.parametrize(
    "rest", ['["a",]', '["a"', "['a']", '["a"] b', '{"a": 1}', '[["a"]', '"a"', "[a]", '["a" "b"]', "[NaN]"]
)
def test_json_that_is_none_is_a_command_line(rest: str) -> None:
    node = parse_line(f"CMD {rest}", "\\")
    assert (node.json, node.args) == (False, (rest,))


@pytest.mark.parametrize("rest", ["[1]", "[null]", '["a", {}]', '[["a"]]', "[true]"])
def test_json_of_other_things_than_strings_is_refused(rest: str) -> None:
    with pytest.raises(DockerfileError, match="comprised of strings only"):
        parse_line(f"CMD {rest}", "\\")


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("ENV a b c", [("a", "b c", True)]),
        ("ENV a  =b", [("a", "=b", True)]),
        ("ENV a=b c=d", [("a", "b", False), ("c", "d", False)]),
        ("ENV a= b=", [("a", "", False), ("b", "", False)]),
        ('ENV a="b c" d=e\\ f', [("a", '"b c"', False), ("d", "e\\ f", False)]),
        ("ENV a='b=c' d=e=f", [("a", "'b=c'", False), ("d", "e=f", False)]),
        ('LABEL "purpose"="practice"', [('"purpose"', '"practice"', False)]),
    ],
)
def test_pairs_in_both_forms(line: str, pairs: list[tuple[str, str, bool]]) -> None:
    assert [(pair.key, pair.value, pair.legacy) for pair in parse_line(line, "\\").pairs] == pairs


@pytest.mark.parametrize(
    ("line", "flags", "args"),
    [
        ("COPY --a --b=c d e", ("--a", "--b=c"), ("d", "e")),
        ("COPY --b='c d' e f", ("--b=c d",), ("e", "f")),
        ("COPY --b=c\\ d e f", ("--b=c d",), ("e", "f")),
        ("COPY -- --a b", (), ("--a", "b")),
        ("COPY a --b c", (), ("a", "--b", "c")),
    ],
)
def test_flags_stand_before_the_words(line: str, flags: tuple[str, ...], args: tuple[str, ...]) -> None:
    node = parse_line(line, "\\")
    assert (node.flags, node.args) == (flags, args)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("FROM a\nRUN x \\\n  y\n", ["RUN x   y"]),
        ("FROM a\nRUN x \\ \t\n  y\n", ["RUN x   y"]),
        ("FROM a\r\nRUN x \\\r\n  y\r\n", ["RUN x   y"]),
        ("FROM a\nRUN x \\\n# no\n  # nor this\n  y\n", ["RUN x   y"]),
        ("FROM a\nRUN x \\\n", ["RUN x"]),
        ("FROM a\nRUN x \\\\\nRUN y\n", ["RUN x \\\\", "RUN y"]),
        ("FROM a\n  RUN x\n\tRUN y", ["RUN x", "RUN y"]),
        ("# escape=`\nFROM a\nRUN c:\\ `\n  x\nRUN d:\\\n", ["RUN c:\\   x", "RUN d:\\"]),
    ],
)
def test_lines_continue(text: str, lines: list[str]) -> None:
    assert [node.text for node in parse(text).nodes[1:]] == lines


WORDS = {"one": "1", "two": "a  b", "front": "  c", "back": "d  "}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x${nothing}y", ["xy"]),
        ("x${one}y", ["x1y"]),
        ("x${two}y", ["xa", "by"]),
        ('x"${two}"y', ["xa  by"]),
        ('x "${two}"y', ["x", "a  by"]),
        ("x${front}y", ["x", "cy"]),
        ("x${back}y", ["xd", "y"]),
        ('x"${back}"y', ["xd  y"]),
        ('x" y  "', ["x y  "]),
        ("x\\ y", ["x y"]),
        ('x\\" y', ['x"', "y"]),
        ('x"\\\\y"', ["x\\y"]),
        ('x"\\y"', ["x\\y"]),
        ("x'\\\\y$one'", ["x\\\\y$one"]),
    ],
)
def test_words_are_split_where_a_shell_would(text: str, words: list[str]) -> None:
    assert expand_words(text, WORDS) == words


NAMES = {"V": "ab/cd/ab", "W": "", "STAR": "a*", "N": "ab"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${X-d}${X:-d}${W-d}${W:-d}${V-d}", "dddab/cd/ab"),
        ("${X+s}|${W+s}|${W:+s}|${V:+s}", "|s||s"),
        ("${V:+${X:-${N}}}", "ab"),
        ("${V#*/}|${V##*/}|${V%/*}|${V%%/*}", "cd/ab|ab|ab/cd|ab"),
        ("${V#}|${V##}|${V%}|${V%%}", "ab/cd/ab|ab/cd/ab|ab/cd/ab|ab/cd/ab"),
        ("${V#$N}|${V%$N}|${V#b}", "/cd/ab|ab/cd/|ab/cd/ab"),
        ("${V/$N/x}|${V//$N/x}", "x/cd/ab|x/cd/x"),
        ("${V//\\//-}|${V/cd/}|${V//?b/$X}", "ab-cd-ab|ab//ab|/cd/"),
        ("${STAR%\\*}|${STAR%a\\*}|${STAR/\\*/b}", "a||ab"),
        ("${V:-${", None),
        ("$V_|${V}_", "|ab/cd/ab_"),
        ("\\$V '\\$V' \"\\$V\"", "$V \\$V $V"),
    ],
)
def test_modifiers(text: str, expected: str | None) -> None:
    if expected is not None:
        assert expand(text, NAMES) == expected
        return
    with pytest.raises(DockerfileError, match="failed to process"):
        expand(text, NAMES)
