"""Tutorials in two languages from one source: `twins/NAME.md` makes `NAME.ipynb` (Korean) and `NAME.en.ipynb`.

    python notebooks/twins.py            # write all of them; outputs stay where a cell is the same
    python notebooks/twins.py --check    # exit 1 if a notebook is not what its source says

A source is blocks, each begun by a line: `:::ko` and `:::en`, one after the other, are a text in both languages,
`:::code` a cell of both (`:::code raises-exception` one that is to fail).
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent
ENDINGS = {"ko": ".ipynb", "en": ".en.ipynb"}
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def sources() -> list[Path]:
    """The sources of all tutorials that have twins."""
    return sorted((HERE / "twins").glob("*.md"))


def target(source: Path, language: str) -> Path:
    """The notebook that a source makes in a language."""
    return HERE / f"{source.stem}{ENDINGS[language]}"


def made(source: Path, language: str) -> nbformat.NotebookNode:
    """A source's notebook in one language, without outputs. Raises ValueError for a text in one language only."""
    cells = []
    others = 0
    for number, (kind, tags, text) in enumerate(_blocks(source.read_text())):
        name = hashlib.sha256(f"{source.stem} {number}".encode()).hexdigest()[:8]
        if kind == "code":
            cells.append(new_code_cell(text, id=name, metadata={"tags": tags} if tags else {}))
        elif kind == language:
            cells.append(new_markdown_cell(text, id=name))
        others += {"code": 0, language: 1}.get(kind, -1)
        if kind == "code" and others:
            raise ValueError(f"{source.name}: a text before {text.splitlines()[0]!r} is there in one language only")
    if others:
        raise ValueError(f"{source.name}: the last text is there in one language only")
    return new_notebook(cells=cells, metadata=copy.deepcopy(_METADATA))


def filled(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with the outputs of another one's cells, where the cell is the same."""
    having = {cell.source: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source in having:
            found = having[cell.source]
            cell.outputs, cell.execution_count = copy.deepcopy(found.outputs), found.execution_count
    return notebook


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    check = parser.parse_args().check
    changed = []
    for source in sources():
        first = target(source, "ko")
        executed = nbformat.read(first, as_version=4) if first.exists() else new_notebook()
        for language in ENDINGS:
            path = target(source, language)
            text = nbformat.writes(filled(made(source, language), executed)) + "\n"
            if not path.exists() or path.read_text() != text:
                changed.append(path)
                if not check:
                    path.write_text(text)
    for path in changed:
        print(f"{path.name}: {'is not what its source says' if check else 'written'}")
    sys.exit(bool(check and changed))


def _blocks(text: str) -> Iterator[tuple[str, list[str], str]]:
    for block in re.split(r"^:::", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        kind, *tags = head.split()
        if kind not in ("ko", "en", "code"):
            raise ValueError(f"no such block: {head!r}")
        yield kind, tags, body.strip("\n")


if __name__ == "__main__":
    main()
