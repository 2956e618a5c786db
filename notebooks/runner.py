"""Run a tutorial for real, on an engine of its own that is thrown away after it.

    python notebooks/runner.py notebooks/01-first-containers.ipynb --html build/01-first-containers.html
    python notebooks/runner.py notebooks/01-first-containers.ipynb --save      # renew the outputs in the file itself

Needs the `lab` extra (nbclient, nbconvert). The tests run the same function.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

_CELL_TIMEOUT = 120
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def execute(path: Path, environment: Mapping[str, str]) -> nbformat.NotebookNode:
    """Execute the notebook in a fresh kernel of this interpreter; the executed copy.

    `environment` is added to the kernel's: it names the engine, as `own_engine` does. A failing cell raises
    CellExecutionError, unless it bears the tag `raises-exception`.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=_CELL_TIMEOUT, resources=resources)
    kernel = client.create_kernel_manager()
    # Unix sockets instead of TCP ports, which every user of the machine could reach.
    kernel.transport, kernel.ip = "ipc", f"{environment['DOSIRAK_RUN']}.kernel"
    client.execute(env={**os.environ, **environment})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the run: noise in a committed file
    return notebook


@contextlib.contextmanager
def own_engine(folder: Path = Path("/tmp"), mirror: str = "") -> Iterator[dict[str, str]]:
    """The environment of an engine with a root of its own; its containers, service and files are gone afterwards.

    `folder` holds the root; its path has to be short (a unix socket's may have 107 bytes). `mirror`: URL of a registry
    that is asked for Docker Hub's images. What tutorials keep in directories of the host is kept in the root.
    """
    root = Path(tempfile.mkdtemp(prefix="dosirak-", dir=folder))
    environment = {"DOSIRAK_ROOT": str(root / "data"), "DOSIRAK_RUN": str(root / "run")}
    environment["DOSIRAK_TUTORIAL_HOME"] = str(root / "home")
    (root / "home").mkdir()
    if mirror:
        (root / "data").mkdir(mode=0o700)
        (root / "data/dosirak.toml").write_text(f'[registries.mirrors]\n"docker.io" = ["{mirror}"]\n')
    try:
        yield environment
    finally:
        _end(root / "run")
        shutil.rmtree(root)


def text_of(cell: nbformat.NotebookNode) -> str:
    """What a cell put out, as plain text."""
    parts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append(_COLOUR.sub("", "\n".join(output.traceback)))
        else:
            parts.append(output.data.get("text/plain", "") + "\n")
    return "".join(parts).strip("\n")


def page(notebook: nbformat.NotebookNode) -> str:
    """The notebook as one HTML page that needs nothing from the network."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="lab", embed_images=True)
    exporter.mathjax_url = exporter.require_js_url = exporter.jquery_url = exporter.mermaid_js_url = ""
    body, _ = exporter.from_notebook_node(notebook)
    return str(body)


def _end(run: Path) -> None:
    """Remove what runs on the engine, then end its service."""
    import docker

    try:
        pid = int((run / "lock").read_text().split()[0])
        client = docker.DockerClient(base_url=f"unix://{run}/dosirak.sock", timeout=30)
    except (OSError, ValueError, IndexError, docker.errors.DockerException):
        return  # it never started, or has ended
    with contextlib.closing(client):
        for row in client.api.containers(all=True):
            client.api.remove_container(row["Id"], force=True, v=True)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _show(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            print(f"\n>>> {lines[0]}", *lines[1:], sep="\n... ")
            print(text_of(cell))
        elif cell.source.startswith("#"):
            print(f"\n{cell.source.splitlines()[0].lstrip('# ')}\n{'-' * 60}")


def main() -> None:
    """Execute, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--html", type=Path, help="write the executed notebook as one page")
    parser.add_argument("--save", action="store_true", help="write the outputs into the notebook itself")
    parser.add_argument("--mirror", default="", help="URL of a registry that has Docker Hub's images (tests/images)")
    options = parser.parse_args()
    start = time.monotonic()
    with own_engine(mirror=options.mirror) as environment:
        try:
            notebook = execute(options.notebook, environment)
        except CellExecutionError as error:
            sys.exit(f"{options.notebook}: {error}")
    _show(notebook)
    print(f"\n{options.notebook}: executed in {time.monotonic() - start:.1f} s")
    if options.save:
        nbformat.write(notebook, options.notebook)
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(page(notebook))
        print(f"The page is {options.html.absolute()}")


if __name__ == "__main__":
    main()
