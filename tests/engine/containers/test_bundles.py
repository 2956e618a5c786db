"""Container directories made ahead and deleted later."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest

from dosirak.engine.containers.bundles import Bundles
from dosirak.engine.errors import HostLimit


@pytest.fixture
async def bundles(tmp_path):
    made = Bundles(tmp_path)
    made.start()
    yield made
    await made.close()
    assert [path for folder in ("spare", "trash") for path in (tmp_path / folder).iterdir()] == []


async def spares(tmp_path, count):
    async with asyncio.timeout(10):
        while len(list((tmp_path / "spare").iterdir())) < count:
            await asyncio.sleep(0.005)


def entries(directory):
    return sorted(path.name for path in directory.iterdir())


ALL = sorted(["config.json", "exit.json.new", "hostname", "hosts", "resolv.conf", "rootfs", "upper", "work"])


async def test_a_spare_and_a_fresh_one_are_alike(bundles, tmp_path):
    fresh = bundles.make("aa")  # the workers have not run yet
    await spares(tmp_path, 4)
    spare = bundles.make("bb")
    assert entries(fresh) == entries(spare) == ALL
    for directory in (fresh, spare):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o710
        assert stat.S_IMODE(os.stat(directory / "upper").st_mode) == 0o755
        assert stat.S_IMODE(os.stat(directory / "hosts").st_mode) == 0o644


async def test_the_services_umask_does_not_count(tmp_path):
    before = os.umask(0o077)
    try:
        directory = Bundles(tmp_path).make("aa")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(directory / "hosts").st_mode) == 0o644
    assert stat.S_IMODE(os.stat(directory / "upper").st_mode) == 0o755


async def test_the_upper_directory_looks_like_the_images_root(bundles, tmp_path):
    layer = tmp_path / "layer"
    layer.mkdir()
    layer.chmod(0o1711)
    os.chown(layer, 5, 6)
    found = os.stat(bundles.make("aa", [str(layer)]) / "upper")
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o1711, 5, 6)


async def test_more_are_made_as_they_are_taken(bundles, tmp_path):
    for number in range(20):
        assert entries(bundles.make(f"{number:02}")) == ALL
        await asyncio.sleep(0)
    await spares(tmp_path, 4)
    assert len(list(bundles.root.iterdir())) == 20


async def test_a_discarded_one_is_gone_at_once_and_deleted_later(bundles, tmp_path):
    directory = bundles.make("aa")
    (directory / "upper/file").write_text("x")
    bundles.discard("aa")
    assert not directory.exists()
    bundles.discard("aa")  # a missing one is fine
    async with asyncio.timeout(10):
        while list((tmp_path / "trash").iterdir()):
            await asyncio.sleep(0.01)


async def test_what_an_earlier_service_left_is_deleted(tmp_path):
    (tmp_path / "spare/1-1/upper").mkdir(parents=True)
    (tmp_path / "trash/x").mkdir(parents=True)
    bundles = Bundles(tmp_path)
    bundles.start()
    assert not (tmp_path / "spare/1-1").exists()
    await bundles.close()
    assert list((tmp_path / "trash").iterdir()) == []


async def test_two_containers_never_share_one(bundles):
    bundles.make("aa")
    with pytest.raises(HostLimit, match=r"containers/aa: (file exists|directory not empty)"):
        bundles.make("aa")
