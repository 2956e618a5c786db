"""A data root on a file system that is too small: one clear error each, and nothing half-made stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import registries
from support.engines import Engine
from support.rootfs import busybox_tar

from .conftest import returns_to, settled

MEGABYTE = 1 << 20


def free(engine: Engine) -> int:
    found = os.statvfs(engine.settings.data)
    return found.f_bavail * found.f_frsize


def image_of(megabytes: int) -> bytes:
    """A root tarball with one file of random bytes."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("big")
        member.size = megabytes * MEGABYTE
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    return buffer.getvalue()


def test_an_image_that_does_not_fit_is_one_error_and_leaves_nothing(small: Engine) -> None:
    before, space = settled(small), free(small)
    done = small.docker("import", "-", "big", stdin=image_of(16), text=False, check=False)
    assert done.returncode == 1
    said = done.stderr.decode().strip()
    assert "no space left on device" in said
    assert "\n" not in said
    returns_to(small, before, "nothing to be left")
    assert abs(free(small) - space) < MEGABYTE
    assert small.docker("images", "-q", "big").stdout == ""
    assert small.docker("run", "--rm", small.import_busybox(), "echo", "still works").stdout == "still works\n"


def test_an_archive_that_does_not_fit_is_one_error_and_leaves_nothing(small: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    small.docker("save", "-o", archive, small.import_busybox())
    small.docker("rmi", small.import_busybox())
    before = settled(small)
    filler = small.settings.data / "filler"
    filler.write_bytes(b"\1" * (free(small) - MEGABYTE))
    done = small.docker("load", "-i", archive, check=False)
    filler.unlink()
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    returns_to(small, before, "nothing to be left")
    assert "Loaded image: busybox:latest" in small.docker("load", "-i", archive).stdout


@pytest.mark.skipif(registries.BINARY is None, reason="needs Debian's docker-registry")
def test_a_pull_that_does_not_fit_is_one_error_and_leaves_nothing(small: Engine) -> None:
    image = small.import_busybox()
    with registries.running() as registry:
        registry.image("big:1", [busybox_tar(), image_of(5), image_of(16)])
        registry.image("small:1", [image_of(1)])
        before, space = settled(small), free(small)
        done = small.docker("pull", f"{registry.address}/big:1", check=False)
        assert done.returncode == 1
        assert "no space left on device" in done.stderr and "\n" not in done.stderr.strip()
        returns_to(small, before, "nothing to be left")
        assert abs(free(small) - space) < MEGABYTE
        small.docker("pull", f"{registry.address}/small:1")
    assert small.docker("run", "--rm", image, "echo", "still works").stdout == "still works\n"


def test_a_build_that_fills_the_disk_is_one_error_and_leaves_nothing(small: Engine) -> None:
    image = small.import_busybox()
    before, space = settled(small), free(small)
    script = f"FROM {image}\nRUN dd if=/dev/zero of=/big bs=1M count=64\n"
    done = small.docker("build", "-t", "big", "-", stdin=script, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stdout + done.stderr  # the words of dd, in the step's output
    assert "returned a non-zero code: 1" in done.stderr
    returns_to(small, before, "nothing to be left")
    assert abs(free(small) - space) < MEGABYTE


def test_a_context_that_does_not_fit_is_one_error_and_leaves_nothing(small: Engine, tmp_path: Path) -> None:
    image = small.import_busybox()
    before = settled(small)
    (tmp_path / "big").write_bytes(os.urandom(16 * MEGABYTE))
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY big /\n")
    done = small.docker("build", tmp_path, check=False)
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    returns_to(small, before, "nothing to be left")


def test_a_container_on_a_full_disk_gets_the_error_itself_and_the_engine_goes_on(small: Engine) -> None:
    image = small.import_busybox()
    fill = "dd if=/dev/zero of=/big bs=1M count=64"
    done = small.docker("run", "--name", "hog", image, "sh", "-c", fill, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    refused = small.docker("run", "--rm", image, "true", check=False)
    if refused.returncode:
        assert "no space left on device" in refused.stderr
    small.docker("rm", "hog")
    settled(small)  # its files are deleted a moment later
    assert small.docker("run", "--rm", image, "echo", "again").stdout == "again\n"


def test_a_log_that_can_not_be_written_does_not_stop_the_container(small: Engine) -> None:
    image = small.import_busybox()
    script = (
        "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null; for n in $(seq 2000); do echo $n; done; rm /big; exit 5"
    )
    done = small.docker("run", "--name", "talker", image, "sh", "-c", script, check=False)
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == "2000"


def test_there_is_an_image_to_compare_with(small: Engine) -> None:
    # The other tests mean something only if the image itself fits with room to spare.
    assert len(busybox_tar()) < 4 * MEGABYTE
    assert free(small) > 4 * MEGABYTE
