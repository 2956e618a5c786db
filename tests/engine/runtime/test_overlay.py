"""Overlay mounts as descriptors, on the real kernel; also the way of kernels before 6.5, which every kernel goes."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dosirak.engine.runtime import overlay
from dosirak.engine.runtime import syscalls as sys

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def layers(tmp_path: Path) -> Callable[[int], list[bytes]]:
    """Makes that many layers with paths as long as a store's, the topmost first, each with a file of its own and one
    that all have."""

    def make(count: int) -> list[bytes]:
        found = []
        for number in range(count):
            layer = tmp_path / f"{number:0>64}" / "diff"
            layer.mkdir(parents=True)
            (layer / f"of-{number}").touch()
            (layer / "all").write_text(str(number))
            found.append(os.fsencode(layer))
        return found

    return make


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes no "lowerdir+"."""
    real = sys.fsconfig_string

    def refuse(fs: int, key: str, value: str | bytes) -> None:
        if key == "lowerdir+":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(fs, key, value)

    monkeypatch.setattr(sys, "fsconfig_string", refuse)


def names(fd: int) -> set[str]:
    # A descriptor of O_PATH can't be listed.
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        return set(os.listdir(opened))
    finally:
        os.close(opened)


def read(fd: int, name: str) -> str:
    opened = os.open(name, os.O_RDONLY, dir_fd=fd)
    with open(opened) as file:
        return file.read()


@pytest.mark.parametrize("count", [2, 3, 60, 127])
@pytest.mark.usefixtures("old")
def test_a_kernel_before_6_5_stacks_as_many_layers_as_docker_does(
    layers: Callable[[int], list[bytes]], count: int
) -> None:
    here, before = os.getcwd(), set(os.listdir("/proc/self/fd"))
    merged = overlay.open_overlay(layers(count))
    assert names(merged) == {"all", *(f"of-{number}" for number in range(count))}
    assert read(merged, "all") == "0"
    os.close(merged)
    assert os.getcwd() == here
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("old")
def test_what_is_written_there_goes_to_the_upper_directory(
    layers: Callable[[int], list[bytes]], tmp_path: Path
) -> None:
    upper, work = tmp_path / ("u" * 200), tmp_path / ("w" * 200)
    upper.mkdir()
    work.mkdir()
    merged = overlay.open_overlay(layers(5), os.fspath(upper), os.fspath(work))
    os.unlink("of-3", dir_fd=merged)
    os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=merged))
    os.close(merged)
    assert {entry.name for entry in upper.iterdir()} == {"of-3", "new"}


@pytest.mark.usefixtures("old")
def test_a_threads_directory_is_its_own_meanwhile(layers: Callable[[int], list[bytes]]) -> None:
    stack, merged, here = layers(3), [], os.getcwd()
    threads = [threading.Thread(target=lambda: merged.append(overlay.open_overlay(stack))) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert os.getcwd() == here
    assert len(merged) == 8
    for fd in merged:
        os.close(fd)


@pytest.mark.usefixtures("old")
def test_more_layers_than_it_can_stack_are_refused_by_number() -> None:
    with pytest.raises(OSError, match=r"128 layers are more than a kernel before 6\.5 stacks \(127\)"):
        overlay.open_overlay([b"/nowhere"] * 128)


def test_relative_paths_and_a_single_layer_do_too(
    layers: Callable[[int], list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = layers(3)
    monkeypatch.chdir(tmp_path)
    merged = overlay._mount_by_short_names([os.path.relpath(path, os.fsencode(tmp_path)) for path in stack], [])
    assert read(merged, "all") == "0"
    os.close(merged)
    single = overlay.open_overlay(stack[1:2])
    assert read(single, "all") == "1"
    os.close(single)
