"""--storage-opt size: on a filesystem that keeps count it holds, on any other it is refused in Docker's words."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dosirak.engine.containers.limits import storage
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.runtime import quota
from support.bundles import until

MB = 1 << 20


@pytest.fixture
def counted(settings, tmp_path):
    """The data directory on an ext4 of its own that enforces project quotas."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4")
    disk = tmp_path / "disk"
    disk.touch()
    subprocess.run(["truncate", "-s", "128M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", disk], check=True)
    settings.data.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-o", "loop,prjquota", disk, settings.data], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no ext4 with project quotas here: {mounted.stderr}")
    yield settings.data
    subprocess.run(["umount", settings.data], check=True)


@pytest.mark.parametrize(
    ("text", "size"), [("10m", 10 * MB), ("1G", 1 << 30), ("1.5KiB", 1536), ("7", 7), ("2 gb", 2 << 30)]
)
def test_sizes(text, size):
    assert storage.parse({"size": text}) == size


@pytest.mark.parametrize(
    ("options", "words"), [({"size": "big"}, "invalid size: 'big'"), ({"inodes": "5"}, "Unknown option inodes")]
)
def test_what_is_no_size(options, words):
    with pytest.raises(InvalidRequest, match=words):
        storage.parse(options)


async def test_where_nothing_counts_it_is_refused_and_leaves_nothing(rig):
    if quota.enforced(str(rig.settings.data)):
        pytest.skip("this machine's own filesystem enforces project quotas")
    with pytest.raises(NotSupported, match=r"^--storage-opt is supported only for overlay over xfs with 'pquota'"):
        await rig.create("true", host={"storage_opt": {"size": "10m"}})
    assert not rig.containers.list(all=True)
    assert not list((rig.settings.data / "containers").iterdir())


async def test_a_container_can_write_so_much_and_no_more(counted, rig):
    script = "dd if=/dev/zero of=/x bs=1M count=20 2>&1; wc -c < /x; df -m / | tail -n1"
    ran = await rig.run("sh", "-c", script, host={"storage_opt": {"size": "8m"}})
    assert "Disk quota exceeded" in ran.out or "No space left" in ran.out
    written = int(ran.out.splitlines()[-2])
    assert 6 * MB < written <= 8 * MB
    assert ran.out.splitlines()[-1].split()[1] == "8"  # what the container sees as its disk
    free = await rig.run("sh", "-c", "dd if=/dev/zero of=/x bs=1M count=20 2>/dev/null && wc -c < /x")
    assert free.out == f"{20 * MB}\n"


async def test_the_bound_goes_with_the_container(counted, rig):
    container_id = await rig.create("true", host={"storage_opt": {"size": "8m"}})
    directory = str(rig.settings.data / "containers" / container_id)
    project = quota.project_of(f"{directory}/upper")
    assert project
    assert quota.used(directory, project)
    await rig.containers.remove(container_id)
    # What it wrote is deleted in the background, and counts until then.
    await until(lambda: not quota.used(str(counted), project), "the project to be free")
