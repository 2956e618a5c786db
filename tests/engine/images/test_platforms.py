"""Which of an index's images is taken, by containerd's rules."""

from __future__ import annotations

import pytest

from dosirak.engine.content import Descriptor, Platform
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.images import platforms

DIGEST = f"sha256:{'0' * 64}"


def _platform(text: str) -> Platform | None:
    os, architecture, variant = [*text.split("/"), "", ""][:3]
    return Platform(os=os, architecture=architecture, variant=variant) if text else None


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v1", "linux/amd64/v1"),
        ("linux/amd64", "linux/amd64/v3", None),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2"),
        ("linux/amd64", "linux/386 unknown/unknown", "linux/386"),
        ("linux/386", "linux/amd64", None),
        ("linux/arm", "linux/arm/v8 linux/arm/v6 linux/arm/v5", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm", "linux/arm"),
        ("linux/arm64", "linux/arm/v7 linux/arm/v8 linux/arm/v6", "linux/arm/v8"),
        ("linux/arm64", "linux/arm/v7 linux/aarch64/8", "linux/aarch64/8"),
        ("linux/arm64/v8.2", "linux/arm64 linux/arm64/v8.1 linux/arm64/v8.3", "linux/arm64/v8.1"),
        ("linux/arm64/v9.1", "linux/arm64/v8.7 linux/arm64/v8.6 linux/arm64/v9.2", "linux/arm64/v8.6"),
        ("linux/armhf", "linux/arm/v7", "linux/arm/v7"),
        ("linux/riscv64", "linux/riscv64", "linux/riscv64"),
        ("linux/amd64", "windows/amd64", None),
    ],
)
def test_the_nearest_that_runs_here_is_taken(wanted: str, offered: str, chosen: str | None) -> None:
    manifests = [Descriptor("x", DIGEST, index, platform=_platform(text)) for index, text in enumerate(offered.split())]
    found = platforms.choose(manifests, _platform(wanted))
    assert (str(found.platform) if found else None) == chosen


def test_one_without_a_platform_is_taken_when_nothing_else_fits() -> None:
    bare, other = Descriptor("x", DIGEST, 0), Descriptor("x", DIGEST, 1, platform=_platform("linux/s390x"))
    assert platforms.choose([other, bare], _platform("linux/amd64")) is bare
    fits = Descriptor("x", DIGEST, 2, platform=_platform("linux/386"))
    assert platforms.choose([bare, fits], _platform("linux/amd64")) is fits


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("linux", None),
        ("arm64", "linux/arm64"),
        ("Linux/X86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/6", "linux/arm/v6"),
        ("windows", "windows"),
        ("macOS", "darwin"),
        ("macos/arm64", "darwin/arm64"),
    ],
)
def test_a_platform_is_read_as_docker_reads_it(text: str, found: str | None) -> None:
    assert platforms.parse(text) == (_platform(found) if found else None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/", "is an invalid OS component"),
        ("       ", "is an invalid OS component"),
        ("/amd64", "is an invalid OS component"),
        ("linux/arm64/", "is an invalid component"),
        ("linux/arm/v7/x", "cannot parse platform specifier"),
        ("foobar", '"foobar": unknown operating system or architecture'),
    ],
)
def test_what_is_no_platform_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        platforms.parse(text)


@pytest.mark.parametrize(
    ("have", "wanted", "fitting"),
    [
        ("linux/amd64", "linux/x86_64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm64", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_an_image_fits_what_is_asked_for(have: str, wanted: str, fitting: bool) -> None:
    made, asked = platforms.parse(have), platforms.parse(wanted)
    assert made is not None and asked is not None
    assert platforms.fits(made, asked) is fitting
