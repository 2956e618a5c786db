"""A neighbour exchanges directories for links while mounts are made below them (the class of CVE-2021-30465)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.engines import Engine, wait_for

from .conftest import HOST_IMAGE, Marker, command

ROUNDS = 25

# renameat2(RENAME_EXCHANGE): at every moment there is a directory or a link of that name.
EXCHANGE = """
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs("/v/place", exist_ok=True)
os.symlink(%r, "/v/link")
open("/v/ready", "w").close()
while True:
    libc.renameat2(-100, b"/v/place", -100, b"/v/link", 2)
"""


@pytest.fixture
def exchanged(engine: Engine, marker: Marker) -> Path:
    """The folder on the host of a volume in which "place" is now a directory, now a link to the marker's folder."""
    engine.docker("volume", "create", "shared")
    volume = Path(engine.client.volumes.get("shared").attrs["Mountpoint"])
    engine.docker("run", "-d", "-v", "shared:/v", HOST_IMAGE, *command(EXCHANGE % str(marker.folder)))
    wait_for((volume / "ready").exists, 15, "the exchanging to begin")
    return volume


def test_mounts_below_an_exchanged_directory_stay_inside(engine: Engine, busybox: str, exchanged: Path) -> None:
    script = "cat /v/place/marker /v/place/x/marker; touch /v/place/written /v/place/x/written"
    flags = ("-v", "shared:/v", "-v", "other:/v/place/x", "--tmpfs", "/v/place/y", "-w", "/v/place/z")
    seen_as_link = False
    for _ in range(ROUNDS):
        # What it says and how it ends is chance; the marker's fixture looks at the host afterwards.
        done = engine.docker("run", "--rm", *flags, busybox, "sh", "-c", script, check=False)
        assert done.stdout == ""
        seen_as_link |= any(os.path.islink(exchanged / "place") for _ in range(100))
    assert seen_as_link  # the control: a name taken from the host's side did lead away
    engine.remove_containers()
    engine.docker("volume", "rm", "shared", "other")


def test_following_the_name_on_the_host_would_have_led_out(exchanged: Path, marker: Marker, engine: Engine) -> None:
    # The control: this is what an engine does that joins strings.
    def led_out() -> bool:
        return subprocess.run(["ls", f"{exchanged}/place"], capture_output=True, text=True).stdout == "marker\n"

    wait_for(led_out, 10, "a look at the marker's folder through the volume")
    engine.remove_containers()
    engine.docker("volume", "rm", "shared")
