"""Tutorials in two languages: both are what their one source says, with the outputs of one execution."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import twins

SOURCES = twins.sources()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_both_notebooks_are_what_their_source_says(source: Path) -> None:
    executed = nbformat.read(twins.target(source, "ko"), as_version=4)
    for language in twins.ENDINGS:
        committed = twins.target(source, language).read_text()
        made = nbformat.writes(twins.filled(twins.made(source, language), executed)) + "\n"
        assert committed == made, "run notebooks/twins.py"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_outputs_are_of_the_committed_cells(source: Path) -> None:
    for language in twins.ENDINGS:
        for cell in nbformat.read(twins.target(source, language), as_version=4).cells:
            assert cell.cell_type != "code" or cell.execution_count, f"not executed: {cell.source[:60]}"


def test_a_text_in_one_language_only_is_told(tmp_path: Path) -> None:
    source = tmp_path / "05-x.md"
    source.write_text(":::ko\n하나\n:::en\none\n:::code\n1\n:::ko\n둘\n:::code\n2\n")
    with pytest.raises(ValueError, match="one language only"):
        twins.made(source, "ko")
    source.write_text(":::ko\n하나\n:::en\none\n:::code raises-exception\n1 / 0\n")
    one, two = (twins.made(source, language) for language in ("ko", "en"))
    assert [cell.source for cell in one.cells] == ["하나", "1 / 0"]
    assert [cell.source for cell in two.cells] == ["one", "1 / 0"]
    assert two.cells[1].metadata.tags == ["raises-exception"]
