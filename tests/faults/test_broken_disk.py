"""A file system that turns read-only under a working engine, as ext4 does after an error: the engine says so, goes on
answering, stops what is to be stopped, and finds everything again when the disk is well."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import invariants
from support.api import Answer, Api
from support.engines import BUSYBOX, Engine, new_settings, wait_for

SLEEPER = {"Image": BUSYBOX, "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}


class Disk:
    """An ext4 of 64 MB on a loop device, mounted as the data root."""

    def __init__(self, place: Path, image: Path) -> None:
        self._place, self._image = place, image
        image.write_bytes(b"")
        os.truncate(image, 64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", self._image, self._place], check=True)

    def breaks(self) -> None:
        """An error of the file system, which then can only be read. What the kernel still holds back would be lost."""
        subprocess.run(["sync", "-f", self._place], check=True)
        number = self._place.stat().st_dev
        device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("broken by a test")

    def mend(self) -> None:
        """Unmounted, checked, mounted again."""
        self._unmount()
        subprocess.run(["fsck.ext4", "-fy", self._image], stdout=subprocess.DEVNULL, check=False)
        self.mount()

    def _unmount(self) -> None:
        """The launcher ends a moment after its service, and with it what it has got ready for starts to come."""
        wait_for(lambda: not subprocess.run(["umount", self._place], capture_output=True).returncode, 10, "umount")
        wait_for(lambda: str(self._image) not in self._images(), 10, "the file system to be let go")

    @staticmethod
    def _images() -> set[str]:
        """The files that are disks now (losetup -a)."""
        found = set()
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                found.add(path.read_text().strip())
        return found

    def close(self) -> None:
        self._unmount()
        self._image.unlink()


@pytest.fixture
def broken() -> Iterator[tuple[Engine, Disk]]:
    if shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs mkfs.ext4 and loop devices")
    settings = new_settings("d")
    settings.data.mkdir(parents=True, exist_ok=True)
    disk = Disk(settings.data, settings.data.parent / "disk")
    engine = Engine(settings)
    try:
        engine.start()
        engine.import_busybox()
        yield engine, disk
        engine.start().remove_containers()
        engine.close_client()
        engine.kill(signal.SIGTERM)
    finally:
        disk.close()
        shutil.rmtree(settings.data.parent)


def refused(answer: Answer) -> None:
    assert answer.status == 500, answer
    assert "read-only" in answer.text.lower() or "readonly" in answer.text.lower() or "disk I/O error" in answer.text
    assert "internal error" not in answer.text
    assert "\n" not in answer.text


def test_a_disk_that_turns_read_only_is_said_and_what_ran_can_be_stopped(broken: tuple[Engine, Disk]) -> None:
    engine, disk = broken
    engine.close_client()
    api = Api(engine.socket)
    ids = {}
    for name in ("runs", "other", "idle"):
        ids[name] = api.need("POST", "/containers/create", SLEEPER, name=name)["Id"]
    for name in ("runs", "other"):
        api.need("POST", f"/containers/{name}/start")
    disk.breaks()
    refused(api.post("/containers/create", SLEEPER, name="new"))
    refused(api.post("/containers/idle/start"))
    refused(api.post("/containers/idle/rename", name="busy"))
    refused(api.delete("/containers/idle"))
    assert len(api.get("/containers/json", all="1").body) == 3
    assert api.get("/containers/runs/json").body["State"]["Running"]
    assert api.get("/containers/runs/logs", stdout="1").status == 200
    assert api.post("/containers/runs/kill").status == 204
    assert api.get("/containers/runs/json").body["State"]["ExitCode"] == 137
    assert api.post("/containers/other/stop", t="0").status == 204
    assert "Traceback" not in engine.log
    api.close()
    engine.kill()

    disk.mend()
    engine.start()
    found = invariants.check(engine, api)
    assert found.keys() == set(ids.values())
    assert [inspect["State"]["Running"] for inspect in found.values()] == [False] * 3
    for name in ids:
        api.need("POST", f"/containers/{name}/start")
    invariants.check(engine, api)
    api.close()
