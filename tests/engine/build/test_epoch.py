"""SOURCE_DATE_EPOCH: the same input twice is the same image, to the digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dosirak.engine.build.epoch import clamp, source_date
from dosirak.engine.build.threads import Stop
from dosirak.engine.errors import InvalidRequest

from .conftest import Rig, write

EPOCH = 1_600_000_000
TEXT = """FROM busybox AS base
RUN mkdir -p /d/e && echo x > /d/e/f && ln -s f /d/e/l && mkfifo /d/p && rm /bin/sh.none || true
WORKDIR /w
COPY f /g/f
RUN rm /d/p && touch /d/e/f
FROM busybox
COPY --from=base /d /d
ENV A=1
"""


async def test_the_same_input_twice_without_a_cache_is_the_same_image(rig: Rig, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"f": "1"})
    options = {"args": {"SOURCE_DATE_EPOCH": str(EPOCH)}, "rewrite_timestamp": True}
    first = await rig.build(TEXT, context, **options)
    os.utime(context / "f", (EPOCH + 99, EPOCH + 99))
    again = await rig.build(TEXT, context, no_cache=True, **options)
    assert again.ran and again.image.manifest.digest == first.image.manifest.digest
    assert first.image.config.created[:19] == "2020-09-13T12:26:40"
    assert {entry.created[:19] for entry in first.image.config.history[-2:]} == {"2020-09-13T12:26:40"}
    assert (await rig.build(TEXT, context, **options)).cached


async def test_without_rewriting_only_what_the_image_says_is_of_that_time(rig: Rig) -> None:
    built = await rig.build("FROM busybox\nRUN echo x > /x\n", args={"SOURCE_DATE_EPOCH": "0"})
    assert built.image.config.created[:19] == "1970-01-01T00:00:00"
    other = await rig.build("FROM busybox\nRUN echo x > /x\n")
    assert other.cached == [2] and other.image.id != built.image.id


async def test_rewritten_layers_are_no_other_builds_layers(rig: Rig) -> None:
    text = "FROM busybox\nRUN echo x > /x\n"
    await rig.build(text)
    made = await rig.build(text, args={"SOURCE_DATE_EPOCH": "7"}, rewrite_timestamp=True)
    assert made.ran == [2]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 20])
async def test_a_time_that_is_none_is_said(rig: Rig, value: str) -> None:
    assert "invalid SOURCE_DATE_EPOCH" in (await rig.error("FROM busybox\n", args={"SOURCE_DATE_EPOCH": value})).message
    with pytest.raises(InvalidRequest):
        source_date({"SOURCE_DATE_EPOCH": value})


def test_clamping_makes_nothing_older_and_follows_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    upper = write(tmp_path / "upper", {"a/b/young": "", "a/old": ""})
    (upper / "link").symlink_to(outside)
    os.utime(upper / "a/old", (5, 5))
    before = outside.stat().st_mtime_ns
    clamp(upper, 1000, Stop())
    found = {path.name: path.lstat().st_mtime for path in upper.rglob("*")}
    assert found == {"a": 1000, "b": 1000, "young": 1000, "old": 5, "link": 1000}
    assert upper.stat().st_mtime == 1000 and outside.stat().st_mtime_ns == before
