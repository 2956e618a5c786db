"""A notebook's shell, and a real kernel, on the worker's engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from support.engines import Engine

Shell = Callable[..., Any]


@pytest.fixture(scope="session")
def loaded_shell() -> InteractiveShell:
    """An IPython shell with the extension loaded; making one takes a second."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "dosirak")
    return made


@pytest.fixture
def shell(
    loaded_shell: InteractiveShell, engine: Engine, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """The shell, on the engine, with no variables but IPython's own."""
    monkeypatch.setenv("DOCKER_HOST", engine.docker_host)
    before = set(loaded_shell.user_ns)
    yield loaded_shell
    for name in set(loaded_shell.user_ns) - before:
        del loaded_shell.user_ns[name]


@pytest.fixture
def magic(shell: InteractiveShell) -> Shell:
    """`magic("container", "ps -a")` runs a line magic, with a third argument a cell magic; returns its value."""

    def run(name: str, line: str = "", cell: str | None = None) -> Any:
        if cell is None:
            return shell.run_line_magic(name, line)
        return shell.run_cell_magic(name, line, cell)

    return run


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's Docker configuration, empty."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker/config.json"


@dataclass
class Ran:
    """What one cell of a real kernel did."""

    stdout: str = ""
    stderr: str = ""
    error: str = ""
    error_name: str = ""
    data: list[dict[str, Any]] = field(default_factory=list)
    first_output: float = 0.0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The last displayed value's text."""
        return str(self.data[-1]["text/plain"]) if self.data else ""


class Kernel:
    """A real ipykernel process."""

    def __init__(self, environment: dict[str, str], name: str = "python3", cwd: str | None = None) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(kernel_name=name, env=environment, cwd=cwd)

    def run(self, code: str, interrupts: tuple[float, ...] = (), timeout: float = 40) -> Ran:
        """Execute a cell; interrupt it at these seconds after its start."""
        ran, start, left = Ran(), time.monotonic(), list(interrupts)
        message_id = self.client.execute(code)
        while True:
            now = time.monotonic() - start
            assert now < timeout, f"the cell did not end: {code}"
            if left and now >= left[0]:
                self.manager.interrupt_kernel()
                left.pop(0)
            try:
                message = self.client.get_iopub_msg(timeout=0.05)
            except Exception:  # queue.Empty, under two names
                continue
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    ran.first_output = ran.first_output or time.monotonic() - start
                    setattr(ran, content["name"], getattr(ran, content["name"]) + content["text"])
                case "error":
                    ran.error, ran.error_name = "\n".join(content["traceback"]), content["ename"]
                case "execute_result" | "display_data" | "update_display_data":
                    ran.data.append(content["data"])
                case "status" if content["execution_state"] == "idle":
                    ran.seconds = time.monotonic() - start
                    return ran

    def close(self) -> None:
        """End the process."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(engine: Engine, busybox: str, tmp_path: Any) -> Iterator[Kernel]:
    """A kernel process with the extension loaded; its folder is `tmp_path`."""
    import os

    made = Kernel({**os.environ, "DOCKER_HOST": engine.docker_host}, cwd=str(tmp_path))
    loaded = made.run("%load_ext dosirak")
    assert not loaded.error
    yield made
    made.close()
