"""`doctor` in a cell and as a command, with an engine and where none starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.api import Api
from support.engines import Engine

COMMAND = str(Path(sys.executable).with_name("dosirak"))


def test_a_cell_gets_a_dataframe_that_shows_itself(magic: Any) -> None:
    found = magic("dosirak", "doctor")
    assert list(found.columns) == ["CHECK", "STATE", "FOUND", "COST", "REMEDY"]
    assert set(found.STATE) <= {"ok", "limited", "missing"}
    assert found[found.CHECK == "kernel"].STATE.tolist() == ["ok"]
    page = found._repr_html_()
    assert "namespaces" in page and "#2e9e6b" in page  # the green dot


def test_the_command_prints_a_table_and_what_to_do(engine: Engine) -> None:
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, env=engine.environment(), timeout=60)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "STATE", "FOUND"]
    assert (done.returncode, done.stderr) == (0, "")
    for line in lines:
        if " limited  " in line:
            check = line.split("  ")[0]
            below = lines.index(next(later for later in lines if later.startswith(f"{check} (limited): ")))
            assert lines[below + 1].startswith("  ")


def test_it_works_where_no_engine_can_start_and_no_root_can_be_made() -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "DOSIRAK_ROOT": "/proc/nowhere", "DOCKER_HOST": "unix:///none"}
    done = subprocess.run([COMMAND, "doctor"], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.split()[:2] == ["overlay", "missing"]]
    assert "DOSIRAK_ROOT=" in done.stdout
    assert done.stderr == ""


def test_the_engine_tells_the_same(engine: Engine) -> None:
    api = Api(engine.socket)
    told = api.need("GET", "/dosirak/doctor")
    api.close()
    environment = {**engine.environment(), "DOSIRAK_ROOT": str(engine.settings.data)}
    said = subprocess.run(
        [sys.executable, "-P", "-m", "dosirak.engine.doctor"], capture_output=True, env=environment, timeout=60
    )
    here = json.loads(said.stdout)
    assert told["ok"] is here["ok"] is True
    states = [{one["check"]: one["state"] for one in report["findings"]} for report in (told, here)]
    assert states[0] == states[1]
