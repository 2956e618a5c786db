"""`build --check`: docker's own report, a DataFrame in a cell, exit statuses; and what a build tells by the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dosirak.magics.building.checks import words
from dosirak.magics.errors import DosirakError
from support.engines import Engine

Output = pytest.CaptureFixture[str]
COMMAND = str(Path(sys.executable).with_name("dosirak"))
FILE = "FROM scratch as b\nCOPY a .\nENV \\\n  token=1\n"


def test_report_reads_as_docker_s() -> None:
    warning = {"FirstLine": 3, "LastLine": 4, "Rule": "R", "URL": "https://x/r/", "Detail": "It is so"}
    assert words([warning], FILE, "sub/Dockerfile") == (
        "Check complete, 1 warning has been found!\n\n"
        "WARNING: R - https://x/r/\nIt is so\nsub/Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM scratch as b\n   2 |     COPY a .\n   3 | >>> ENV \\\n   4 | >>>   token=1\n"
        "--------------------"
    )
    assert words([warning, warning], FILE, "x").startswith("Check complete, 2 warnings have been found!\n")
    assert words([], FILE, "x") == "Check complete, no warnings found."


def test_cell_is_checked_into_a_table(magic: Any, tmp_path: Path, monkeypatch: Any, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dockerignore").write_text("a\n")
    found = magic("dockerfile", "--check", FILE)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == ["LINE", "RULE", "DETAIL", "URL"]
    assert list(zip(found.LINE, found.RULE, strict=True)) == [
        (1, "FromAsCasing"),
        (2, "CopyIgnoredFile"),
        (3, "SecretsUsedInArgOrEnv"),
    ]
    assert "Do not use ARG or ENV" in found._repr_html_()
    assert magic("dockerfile", "--check", "FROM scratch\n").empty
    assert capsys.readouterr().out == "Check complete, no warnings found.\n"


def test_wrong_cell_shows_what_was_found_before_the_error(magic: Any, capsys: Output) -> None:
    with pytest.raises(DosirakError, match=r"line 3: unknown instruction: RNU \(did you mean RUN\?\)"):
        magic("dockerfile", "--check", "FROM scratch\nMAINTAINER me\nRNU x\n")
    assert "WARNING: MaintainerDeprecated - https://docs.docker.com/go/" in capsys.readouterr().out


def test_base_image_that_is_here_is_known(magic: Any) -> None:
    text = "FROM busybox\nCOPY $nowhere .\nENV X=$PATH\n"
    assert list(magic("dockerfile", "--check", text).DETAIL) == ["Usage of undefined variable '$nowhere'"]
    assert magic("dockerfile", "--check", text.replace("busybox", "not-here")).empty


def test_build_in_a_cell_tells_its_findings(magic: Any, tmp_path: Path, monkeypatch: Any, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    magic("dockerfile", "-t told", "FROM busybox\nMAINTAINER me\n")
    shown = capsys.readouterr().out
    assert "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)" in shown


def test_command_line_checks_a_folder(engine: Engine, busybox: str, tmp_path: Path) -> None:
    def check(*arguments: str) -> tuple[int, str]:
        command = [COMMAND, "build", *arguments, str(tmp_path)]
        ran = subprocess.run(command, capture_output=True, text=True, env=engine.environment())
        return ran.returncode, ran.stdout

    (tmp_path / "Dockerfile").write_text("FROM scratch\nCMD a\n")
    (tmp_path / "other").write_text("ARG V\nFROM busybox:$V\n")
    status, told = check("--check")
    assert status == 1
    assert told.startswith("Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - ")
    status, told = check("--call=check", "-f", str(tmp_path / "other"), "--build-arg", "V=1")
    assert (status, "InvalidDefaultArgInFrom" in told, "other:2" in told) == (1, True, True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert check("--check") == (0, "Check complete, no warnings found.\n")
