"""Listings as DataFrames: real types underneath, Docker's words on display."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from dosirak.magics.look.words import Port, Ports
from dosirak.magics.tables.columns import Look
from dosirak.magics.tables.frame import Frame
from dosirak.magics.tables.listing import Listing

NOW = 1_700_000_000.0
TITLES = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES", "STATE", "EXIT CODE"]


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "CONTAINER ID": f"{number:064x}"[::-1],
        "IMAGE": "nginx:latest",
        "COMMAND": "/docker-entrypoint.sh nginx -g",
        "CREATED": datetime.fromtimestamp(NOW - 120 * number, UTC),
        "STATUS": "Up 2 minutes",
        "PORTS": Ports([Port(80, "0.0.0.0", 32768, "tcp")]),
        "NAMES": f"web{number}",
        "STATE": "running",
        "EXIT CODE": None,
        **more,
    }


@pytest.fixture
def listing() -> Listing:
    exited = row(2, STATUS="Exited (137) 1 second ago", STATE="exited", PORTS=Ports(), **{"EXIT CODE": 137})
    return Listing(TITLES, [row(1), exited], Look("containers", now=NOW))


@pytest.fixture
def frame(listing: Listing) -> Frame:
    return listing.frame()


# ruff: noqa: E501
TEXT = """\
CONTAINER ID   IMAGE          COMMAND                  CREATED         STATUS                      PORTS                   NAMES
100000000000   nginx:latest   "/docker-entrypoint.…"   2 minutes ago   Up 2 minutes                0.0.0.0:32768->80/tcp   web1
200000000000   nginx:latest   "/docker-entrypoint.…"   4 minutes ago   Exited (137) 1 second ago                           web2"""


def test_the_text_is_docker_s_table(listing: Listing, frame: Frame) -> None:
    assert listing.text() == TEXT
    assert repr(frame) == TEXT


def test_the_values_are_real(frame: Frame) -> None:
    assert str(frame["CREATED"].dtype).startswith("datetime64[") and "UTC" in str(frame["CREATED"].dtype)
    assert isinstance(frame["STATE"].dtype, pd.CategoricalDtype)
    assert frame["EXIT CODE"].dtype == "Int64"
    assert frame["EXIT CODE"].tolist()[1] == 137
    assert frame["PORTS"].iloc[0][0].public == 32768
    assert len(frame["CONTAINER ID"].iloc[0]) == 64


def test_it_filters_sorts_groups_and_keeps_its_words(frame: Frame) -> None:
    stopped = frame[frame.STATE == "exited"]
    assert isinstance(stopped, Frame)
    assert "4 minutes ago" in repr(stopped) and "web1" not in repr(stopped)
    assert repr(frame.sort_values("CREATED")).splitlines()[1].endswith("web2")
    assert frame.groupby("STATE", observed=True).size().to_dict() == {"exited": 1, "running": 1}
    age = frame["CREATED"].max() - frame["CREATED"].min()
    assert age == pd.Timedelta(minutes=2)


def test_a_column_that_was_asked_for_is_shown(frame: Frame) -> None:
    assert repr(frame[["NAMES", "STATE", "EXIT CODE"]]).splitlines()[2].split() == ["web2", "exited", "137"]
    assert "STATE" not in repr(frame)


def test_an_index_somebody_chose_is_shown(frame: Frame) -> None:
    assert repr(frame.set_index("NAMES")).splitlines()[1].startswith("web1   ")


def test_the_html_escapes_and_links(listing: Listing) -> None:
    listing.rows[0]["NAMES"] = "<img src=x onerror=alert(1)>"
    listing.rows[0]["COMMAND"] = '"><script>'
    html = listing.frame()._repr_html_()
    assert "<img" not in html and "<script" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert '<a href="http://localhost:32768/"' in html
    assert "2 minutes ago" in html


def test_an_empty_listing_keeps_header_and_types() -> None:
    frame = Listing(TITLES, [], Look("containers")).frame()
    assert repr(frame) == "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"
    assert isinstance(frame["STATE"].dtype, pd.CategoricalDtype)
    assert "<table" in frame._repr_html_()


def test_a_changed_frame_still_shows_itself(frame: Frame) -> None:
    frame["NEW"] = [1, None]
    frame["CREATED"] = "x"
    assert "NEW" in repr(frame)
    assert "<table" in frame._repr_html_()
    assert "web1" in repr(pd.concat([frame, frame]))
    assert "count" in repr(frame.describe())


def test_a_long_listing_is_shown_in_part(frame: Frame) -> None:
    long = Listing(TITLES, [row(n) for n in range(1, 200)], Look("containers", now=NOW)).frame()
    assert "… 199 rows in all" in repr(long)
    assert "… 199 rows in all" in long._repr_html_()
    with pd.option_context("display.max_rows", None):
        assert "web150" in repr(long)


def test_no_trunc_shows_everything(listing: Listing) -> None:
    full = Listing(TITLES, listing.rows, Look("containers", now=NOW, truncate=False)).text()
    assert '"/docker-entrypoint.sh nginx -g"' in full and listing.rows[0]["CONTAINER ID"] in full


def test_control_characters_do_not_break_the_text_table(listing: Listing) -> None:
    listing.rows[0]["NAMES"] = "a\x1b[31m\nb\u202e"
    assert listing.text().splitlines()[1].endswith("a\\e[31m\\nb\\u202e")


def test_sizes_are_numbers() -> None:
    rows = [
        {
            "REPOSITORY": "a",
            "TAG": "1",
            "IMAGE ID": "sha256:" + "a" * 64,
            "CREATED": datetime.fromtimestamp(0, UTC),
            "SIZE": n,
        }
        for n in (117_000_000, 5)
    ]
    frame = Listing(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], rows, Look("images")).frame()
    assert frame.SIZE.dtype == "int64"
    assert frame.SIZE.sum() == 117_000_005
    assert "117MB" in repr(frame) and "aaaaaaaaaaaa " in repr(frame)
