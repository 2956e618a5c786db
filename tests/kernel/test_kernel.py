"""The kernel “Dosirak”: found by Jupyter, greets, and has the magics in the first cell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from dosirak.kernel.install import SPEC, install
from support.engines import Engine

COMMAND = str(Path(sys.executable).with_name("dosirak"))


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = install(str(tmp_path))
    assert place == tmp_path / "share/jupyter/kernels/dosirak"
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    return place


def test_the_kernelspec_is_whole(prefix: Path) -> None:
    document = json.loads((prefix / "kernel.json").read_text())
    assert document["display_name"] == "Dosirak"
    assert document["argv"][0] == sys.executable
    for size in (32, 64):
        data = (prefix / f"logo-{size}x{size}.png").read_bytes()
        assert data.startswith(b"\x89PNG") and int.from_bytes(data[16:20]) == size
    assert (prefix / "logo-svg.svg").read_text().startswith("<svg")
    # A wheel's shared data goes in as it is: there the interpreter is Jupyter's own.
    assert json.loads((SPEC / "kernel.json").read_text())["argv"][0] == "python"


def test_jupyter_finds_it(prefix: Path) -> None:
    assert "dosirak" in KernelSpecManager().find_kernel_specs()


def test_it_greets_and_has_the_magics(prefix: Path) -> None:
    manager, client = start_new_kernel(kernel_name="dosirak")
    try:
        reply = client.kernel_info(reply=True, timeout=30)["content"]
        assert reply["implementation"] == "dosirak"
        assert "%container run" in reply["banner"]
        result = client.execute_interactive(
            "get_ipython().find_magic('container').__name__", output_hook=lambda m: None
        )
        assert result["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_notebook_runs_in_it(prefix: Path, engine: Engine, busybox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.docker_host)
    cells = ["%container run --rm busybox echo hello", "%container run --rm busybox nosuch", "%topology"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="dosirak", timeout=60, allow_errors=True).execute()
    hello, wrong, picture = (cell.outputs for cell in notebook.cells)
    assert hello[0].text == "hello\n"
    assert wrong[0].output_type == "error" and len(wrong[0].traceback) == 1
    html = picture[0].data["text/html"]
    assert re.fullmatch(r'<img src="data:image/svg\+xml;base64,[^"]+" alt="[^"]*" style="[^"]*">', html)


def test_the_command_installs_and_removes_it(tmp_path: Path) -> None:
    environment = {**os.environ, "JUPYTER_PATH": str(tmp_path / "share/jupyter")}
    done = subprocess.run(
        [COMMAND, "kernel", "install", "--prefix", str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.stdout == f"Installed kernelspec dosirak in {tmp_path}/share/jupyter/kernels/dosirak\n"
