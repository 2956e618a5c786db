"""The tutorial of volumes, run for real: what its cells put out is what its text says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import runner

from support.patience import patient
from support.tutorials import Executed, executed

pytestmark = [pytest.mark.xdist_group("tutorial"), pytest.mark.timeout(patient(300))]


@pytest.fixture(scope="module")
def tutorial() -> Iterator[Executed]:
    with executed("03-volumes", ["busybox", "alicek106/volume_test", "ubuntu:14.04"]) as found:
        yield found


def test_a_directory_of_the_host_hides_the_image_s(tutorial: Executed) -> None:
    assert tutorial.text("--rm alicek106/volume_test ls").splitlines()[-1] == "test"
    assert tutorial.text("exec volume_overide ls") == "from-the-host\nrice"


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (":/data:ro", "Read-only file system"),
        ("/nowhere", "bind source path does not exist"),
        ("%docker volume rm myvolume", "volume is in use"),
    ],
)
def test_an_error_says_what_is_wrong(tutorial: Executed, piece: str, words: str) -> None:
    failed = [cell for cell in tutorial.notebook.cells if "raises-exception" in cell.metadata.get("tags", ())]
    (cell,) = (cell for cell in failed if piece in cell.source)
    assert words in runner.text_of(cell)


def test_another_container_has_the_same_volumes(tutorial: Executed) -> None:
    assert tutorial.text("--volumes-from").splitlines()[-2:] == ["from-the-container", "from-the-host"]


def test_two_containers_share_a_named_volume(tutorial: Executed) -> None:
    assert tutorial.text("hello, volume!") == "hello, volume!"
    assert "myvolume" in tutorial.text("%volume ls")
    assert tutorial.text("Mountpoint").strip() == "hello, volume!"


def test_a_new_volume_has_what_the_image_has_there(tutorial: Executed) -> None:
    assert tutorial.text("copied:/home/testdir_2").splitlines()[-1] == "test"
    assert "myvolume" in tutorial.text("volumes_from_container myvolume_1")
