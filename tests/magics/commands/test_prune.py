"""The prunes, `df`, events and volumes as magics: values, confirmation, tables."""

from __future__ import annotations

import io
import sys
from typing import Any

import pandas as pd
import pytest

from dosirak.magics.errors import DosirakError

Output = pytest.CaptureFixture[str]


def test_a_prune_asks_and_does_nothing_without_a_yes(magic: Any, engine: Any, monkeypatch: Any, capsys: Output) -> None:
    made = magic("container", "create busybox true").id
    asked: list[str] = []

    def answer(text: str) -> Any:
        return lambda question: asked.append(question) or text

    monkeypatch.setattr("builtins.input", answer("n"))
    assert magic("container", "prune") is None
    assert asked == ["WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "]
    monkeypatch.setattr("builtins.input", answer("y"))
    assert magic("container", "prune") == [made]
    assert "Total reclaimed space: 0B" in capsys.readouterr().out


def test_where_nobody_can_answer_it_says_what_to_do(magic: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(DosirakError, match="use --force"):
        magic("system", "prune")


def test_prunes_return_what_went(magic: Any, engine: Any) -> None:
    magic("volume", "create --label mine kept-data")
    assert list(magic("volume", "ls -q --filter label=mine")) == ["kept-data"]
    assert magic("volume", "inspect kept-data")["Labels"] == {"mine": ""}
    assert magic("volume", "prune -f --filter label=mine") == []
    assert magic("volume", "prune -af --filter label=mine") == ["kept-data"]
    assert magic("network", "prune -f --filter label=nosuch") == []
    assert magic("image", "prune -f --filter label=nosuch") == []


def test_what_could_be_removed_is_told_though_the_rest_failed(magic: Any, capsys: Output) -> None:
    magic("volume", "create gone-data")
    magic("container", "create --name gone busybox true")
    for kind, name in (("volume", "gone-data"), ("container", "gone")):
        with pytest.raises(DosirakError, match="nosuch"):
            magic(kind, f"rm nosuch {name}")
        assert capsys.readouterr().out == f"{name}\n"


def test_df_is_a_frame(magic: Any, capsys: Output) -> None:
    magic("container", "run busybox sh -c 'head -c 3000 /dev/zero >/file'")
    found = magic("system", "df")
    assert isinstance(found, pd.DataFrame)
    by_type = found.set_index("TYPE")
    assert by_type.loc["Containers", "TOTAL"] == 1 and by_type.loc["Containers", "ACTIVE"] == 0
    assert by_type.loc["Containers", "SIZE"] == 3000
    assert "3kB (100%)" in repr(found)
    assert magic("system", "df --format '{{.Type}}: {{.Size}}'")[1] == "Containers: 3kB"


def test_events_of_a_time_that_is_over_are_a_frame(magic: Any) -> None:
    magic("container", "run --rm --name shortlived busybox true")
    found = magic("system", "events --since 1m --filter container=shortlived")
    assert {"create", "start", "die", "destroy"} <= set(found.ACTION)
    assert set(found.NAME) == {"shortlived"} and found.TIME.is_monotonic_increasing
    assert found.ATTRIBUTES[found.ACTION == "die"].iloc[0]["exitCode"] == "0"
    lines = magic("docker", "events --since 1m --filter container=shortlived --format '{{.Action}}'")
    assert list(lines) == list(found.ACTION)
