"""Volumes: names, records, removal, sweeping."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dosirak.engine.errors import Conflict, InvalidRequest, NotFound, NotSupported
from dosirak.engine.volumes import Volumes


def test_a_volume_is_a_directory_and_a_record(volumes, settings, db, events):
    made = volumes.create("data", labels={"a": "b"})
    assert Path(made.mountpoint) == settings.data / "volumes/data/_data"
    assert Path(made.mountpoint).is_dir()
    assert abs(made.created - time.time()) < 10 and not made.anonymous
    assert Volumes(settings, db, events).get("data") == made, "a later service knows it"


def test_creating_it_again_is_the_same_volume(volumes):
    assert volumes.create("data") == volumes.create("data", labels={"x": "y"})
    assert len(volumes.list()) == 1


def test_without_a_name_it_is_anonymous(volumes):
    made = volumes.create()
    assert made.anonymous and len(made.name) == 64
    assert made.labels == {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize("name", ["a", "../x", "a/b", "-ab", "a b", "é1", ".ab", "a\n", "x" * 300 + "/"])
def test_bad_names_never_become_paths(volumes, settings, name):
    with pytest.raises(InvalidRequest, match="includes invalid characters for a local volume name"):
        volumes.create(name)
    assert list((settings.data / "volumes").iterdir()) == []


def test_a_name_too_long_for_a_directory_is_refused(volumes):
    with pytest.raises(InvalidRequest):
        volumes.create("x" * 300)


def test_other_drivers_and_options_are_refused(volumes):
    with pytest.raises(NotFound, match='error looking up volume plugin nfs: plugin "nfs" not found'):
        volumes.create("data", driver="nfs")
    with pytest.raises(NotSupported, match="driver options"):
        volumes.create("data", options={"type": "tmpfs"})


async def test_removal(volumes, events):
    made = volumes.create("data")
    (Path(made.mountpoint) / "file").write_text("x")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1, c2\]"):
        await volumes.remove("data", users=["c1", "c2"])
    await volumes.remove("data")
    assert not Path(made.mountpoint).parent.exists()
    with pytest.raises(NotFound, match="get data: no such volume"):
        volumes.get("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        await volumes.remove("data")
    await volumes.remove("data", force=True)
    async with events.subscribe(since_ns=0, until_ns=time.time_ns()) as reader:
        assert [(event.type, event.action, event.id) async for event in reader] == [
            ("volume", "create", "data"),
            ("volume", "destroy", "data"),
        ]


async def test_the_sweep_removes_what_no_record_names(volumes, settings):
    kept = volumes.create("kept")
    (settings.data / "volumes/stray/_data").mkdir(parents=True)
    await volumes.sweep()
    assert [path.name for path in (settings.data / "volumes").iterdir()] == ["kept"]
    assert Path(kept.mountpoint).is_dir()
