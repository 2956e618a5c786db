"""Tutorials run for real: executed notebooks, and a registry with the images that their commands name."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pytest
import runner
import twins
from images import make, roots

from support import registries
from support.engines import session_base

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


class Executed:
    """An executed notebook; cells are found by a piece of their source."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        self.notebook = notebook

    def cell(self, piece: str) -> nbformat.NotebookNode:
        """The one cell that has this piece."""
        found = [cell for cell in self.notebook.cells if cell.cell_type == "code" and piece in cell.source]
        assert len(found) == 1, f"{piece}: in {len(found)} cells"
        return found[0]

    def text(self, piece: str) -> str:
        """What that cell put out, as plain text."""
        return runner.text_of(self.cell(piece))

    def html(self, piece: str) -> str:
        """The same, as HTML."""
        return "".join(output.data.get("text/html", "") for output in self.cell(piece).outputs if "data" in output)


@contextlib.contextmanager
def executed(name: str, images: Sequence[str]) -> Iterator[Executed]:
    """A tutorial that has twins, executed on an engine of its own; `images` come from a registry in place of the Hub.

    Its host directories are left until the end of the block. Skips where the images can't be made.
    """
    if registries.BINARY is None:
        pytest.skip("needs Debian's docker-registry")
    recipes = make.chosen(images, large=True)
    if shutil.which("mmdebstrap") is None and not roots.cached((), make.CACHE):
        pytest.skip("needs mmdebstrap to make the images, once")
    with registries.running() as registry:
        try:
            for recipe in recipes:
                make.push(recipe, registry, make.CACHE)
        except (subprocess.CalledProcessError, SystemExit) as error:
            pytest.skip(f"the images could not be made: {error}")
        with runner.own_engine(session_base(), f"http://{registry.address}") as environment:
            source = twins.HERE / "twins" / f"{name}.md"
            yield Executed(runner.execute(twins.target(source, "ko"), environment))
