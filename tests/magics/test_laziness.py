"""What loading the extension costs, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
import time

HEAVY = ("docker", "pandas", "ipywidgets", "anywidget", "requests", "click", "numpy", "aiohttp", "msgspec", "pyroute2")

SCRIPT = f"""
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
start = time.perf_counter()
shell.run_line_magic("load_ext", "dosirak")
took = time.perf_counter() - start
new = set(sys.modules) - before
print(json.dumps([took, [name for name in {HEAVY!r} if name in new], sorted(shell.magics_manager.magics["line"])]))
"""


def loaded() -> tuple[float, list[str], list[str]]:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    took, heavy, magics = json.loads(result.stdout.splitlines()[-1])
    return took, heavy, magics


def test_loading_the_extension_is_quick_and_imports_nothing_heavy() -> None:
    took, heavy, magics = min(loaded() for _ in range(3))
    assert heavy == []
    assert took < 0.150
    assert {"container", "image", "network", "system", "docker", "dosirak", "topology", "dockerfile"} <= set(magics)
    assert "layers" in magics


def test_the_command_s_listing_needs_no_pandas() -> None:
    script = (
        "import sys; from dosirak.magics.tables.listing import Listing; from dosirak.magics.tables.columns import Look;"
        "Listing(['NAMES'], [{'NAMES': 'x'}], Look('containers')).text(); print('pandas' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_mistake_is_told_without_the_engine_s_client() -> None:
    start = time.perf_counter()
    script = (
        "import sys; from dosirak.magics.cli import main; print(main(['run', '--nmae', 'x']), 'docker' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "125 False"
    assert result.stderr == "dosirak: unknown flag: --nmae; did you mean --name?\n"
    assert time.perf_counter() - start < 5
