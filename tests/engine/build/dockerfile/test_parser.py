"""The parser: Dockerfiles with the trees expected of them (`trees/`), its errors, and properties of any text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dosirak.engine.build.dockerfile import Dockerfile, Lines, Node, parse
from dosirak.engine.build.errors import DockerfileError

from ..strategies import loose, tight

TREES = Path(__file__).parent / "trees"
CASES = sorted(case.name for case in TREES.iterdir())


def dump(node: Node) -> str:
    """One node as the expected trees have it."""
    parts = [f"{node.lines.first}-{node.lines.last}", node.keyword, *(f"flag:{flag!r}" for flag in node.flags)]
    parts += ["json"] if node.json else []
    parts += [repr(arg) for arg in node.args]
    parts += [f"{pair.key!r}{' ' if pair.legacy else '='}{pair.value!r}" for pair in node.pairs]
    parts += [f"({dump(node.child)})"] if node.child else []
    lines = [" ".join(parts)]
    for heredoc in node.heredocs:
        kind = ("-" if heredoc.strip_tabs else "") + ("" if heredoc.expand else "quoted")
        place = f"{heredoc.lines.first}-{heredoc.lines.last}"
        lines.append(f"  {place} {heredoc.descriptor}<<{kind} {heredoc.name!r} {heredoc.text!r}")
    return "\n".join([*lines, *(f"  # {comment}" for comment in node.comments)])


def dump_file(file: Dockerfile) -> str:
    lines = [f"{directive.line} #{directive.name}={directive.value}" for directive in file.directives]
    lines += [dump(node) for node in file.nodes]
    lines += [f"remark {remark.lines.first}: {remark.message}" for remark in file.remarks]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_dockerfile_parses_to_its_expected_tree(case: str) -> None:
    file = parse((TREES / case / "Dockerfile").read_bytes())
    assert dump_file(file) == (TREES / case / "tree").read_text()


@pytest.mark.parametrize(
    ("text", "first", "last", "problem"),
    [
        ("", 0, 0, "file with no instructions"),
        ("# only a comment\n\n", 0, 0, "file with no instructions"),
        ("FROM a\nENV PATH\n", 2, 2, "ENV must have two arguments"),
        ("FROM a\nENV a=b \\\n  c\n", 2, 3, 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("FROM a\nRUN <<EOF\necho\n", 2, 3, "unterminated heredoc: no line 'EOF' follows"),
        ("FROM a\nCMD [1, 2]\n", 2, 2, "when using JSON array syntax, arrays must be comprised of strings only"),
        ("# escape=x\nFROM a\n", 1, 1, "invalid escape token 'x' does not match ` or \\"),
        ("# escape=`\n# escape=\\\nFROM a\n", 2, 2, "only one escape parser directive can be used"),
        ("FROM a\nRUN x\0y\n", 2, 2, "a Dockerfile can't contain NUL bytes"),
        ("FROM a\nONBUILD onbuild RUN x\n", 2, 2, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ],
)
def test_wrong_text_names_the_problem_and_its_lines(text: str, first: int, last: int, problem: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert (caught.value.problem, caught.value.first, caught.value.last) == (problem, first, last)


def test_error_shows_file_line_and_the_lines_around() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\n\nENV PATH\nRUN true\n", "sub/Dockerfile.dev")
    assert str(caught.value) == (
        "dockerfile parse error on line 3: ENV must have two arguments\n"
        "sub/Dockerfile.dev:3\n"
        "--------------------\n"
        "   1 |     FROM a\n"
        "   2 |\n"
        "   3 | >>> ENV PATH\n"
        "   4 |     RUN true\n"
        "--------------------"
    )


def test_line_may_be_as_long_as_buildkit_takes_it() -> None:
    assert parse("FROM a\nRUN " + "x" * 65_531 + "\n").nodes[1].lines == Lines(2, 2)
    for line in ("RUN " + "x" * 65_532, "RUN " + "é" * 32_766, "RUN <<E\n" + "x" * 65_536 + "\nE"):
        with pytest.raises(DockerfileError, match="line greater than max allowed size of 65535"):
            parse(f"FROM a\n{line}\n")


def test_long_chain_of_onbuild_is_refused_without_exhausting_the_stack() -> None:
    with pytest.raises(DockerfileError, match="Chaining ONBUILD"):
        parse("FROM a\n" + "ONBUILD " * 8_000 + "RUN x\n")


dockerfiles = st.one_of(loose, tight)


@given(dockerfiles)
@example("FROM a\\")
@example("\\\n\\\n")
@example("RUN <<\n")
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    try:
        file = parse(text)
    except DockerfileError as error:
        assert error.message
    else:
        assert file.nodes


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    try:
        parse(data)
    except DockerfileError:
        pass


@given(dockerfiles)
def test_nodes_written_out_again_parse_to_the_same_nodes(text: str) -> None:
    try:
        file = parse(text)
    except DockerfileError:
        return
    header = f"# escape={file.escape}\n"
    again = parse(header + "\n".join(node.source for node in file.nodes) + "\n")
    assert [_bare(node) for node in again.nodes] == [_bare(node) for node in file.nodes]


@given(dockerfiles)
def test_line_ranges_are_in_order_and_inside_the_file(text: str) -> None:
    try:
        file = parse(text)
    except DockerfileError:
        return
    end = 0
    for node in file.nodes:
        assert end < node.lines.first <= node.lines.last
        end = node.lines.last
        for heredoc in node.heredocs:
            assert node.lines.first < heredoc.lines.first <= heredoc.lines.last <= node.lines.last
    assert end <= text.count("\n") + 1


def _bare(node: Node) -> Node:
    nowhere = Lines(0, 0)
    heredocs = tuple(replace(heredoc, lines=nowhere) for heredoc in node.heredocs)
    return replace(node, lines=nowhere, heredocs=heredocs, comments=())
