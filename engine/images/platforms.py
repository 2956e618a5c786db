"""Which platform this machine is, and which of several images is made for it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable

import msgspec

from dosirak.engine.content.model import Descriptor, Platform
from dosirak.engine.errors import InvalidRequest

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
}

_SYSTEMS = {
    *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl", "netbsd"),
    *("openbsd", "plan9", "solaris", "windows", "zos"),
}
_KNOWN = {
    *("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips", "mipsle"),
    *("mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64"),
    "wasm",
}
"""What a word that stands alone may be (containerd, platforms/database.go)."""
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_SPELLINGS = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_OS_SPELLINGS = {"macos": "darwin"}


@functools.cache
def host() -> Platform:
    """This machine's platform, in Go's words."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def parse(text: str) -> Platform | None:
    """ "linux/arm64/v8", "arm64", or "linux", which is no more than this engine has: None, as for "". Normalized.

    Raises InvalidRequest in Docker's words.
    """
    if not text:
        return None
    first, *rest = text.lower().split("/")
    parts = [_OS_SPELLINGS.get(first, first), *rest]
    for part in parts:
        if not _PART.fullmatch(part):
            kind = "OS component" if part is parts[0] else "component"
            raise InvalidRequest(f'"{part[:80]}" is an invalid {kind} of "{text[:80]}"')
    if parts == ["linux"]:
        return None
    if len(parts) == 1:
        parts = [parts[0], ""] if parts[0] in _SYSTEMS else ["linux", *parts]
        if parts[1] and normalized(Platform(os="linux", architecture=parts[1])).architecture not in _KNOWN:
            raise InvalidRequest(f'"{text[:80]}": unknown operating system or architecture')
    if len(parts) > 3:
        raise InvalidRequest(f'"{text[:80]}": cannot parse platform specifier')
    return normalized(Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else ""))


def normalized(platform: Platform) -> Platform:
    """The one spelling of a platform that has several (containerd, platforms/database.go)."""
    architecture = _SPELLINGS.get(platform.architecture.lower(), platform.architecture.lower())
    variant = platform.variant.lower()
    if variant.isdigit():
        variant = f"v{variant}"
    if architecture in ("armhf", "armel"):
        architecture, variant = "arm", "v6" if architecture == "armel" else variant or "v7"
    elif architecture == "arm":
        variant = variant or "v7"
    elif (architecture, variant) in (("arm64", "v8"), ("arm64", "v8.0"), ("amd64", "v1")):
        variant = ""
    return msgspec.structs.replace(platform, os=platform.os.lower(), architecture=architecture, variant=variant)


def fits(have: Platform, wanted: Platform) -> bool:
    """Whether what was made for `have` is what somebody asks for who says `wanted`; a part left out is any."""
    found, asked = normalized(have), normalized(wanted)
    pairs = ((asked.os, found.os), (asked.architecture, found.architecture), (asked.variant, found.variant))
    return not any(one != other for one, other in pairs if one and other)


def choose(manifests: Iterable[Descriptor], wanted: Platform | None = None) -> Descriptor | None:
    """The manifest for the platform (this machine's by default) among those of an image index; None if there is none.

    As containerd's `platforms.Only` chooses: the platform itself, then what runs there too, the nearest first (amd64/v3
    before amd64/v2 before amd64 before 386; arm64 before arm/v8 before arm/v7…). One without a platform is taken when
    nothing else fits.
    """
    want = normalized(wanted or host())
    order = _runs_there(want.architecture, want.variant)
    best, best_place = None, len(order) + 1
    for manifest in manifests:
        place = _place(manifest.platform, want.os, order)
        if place < best_place:
            best, best_place = manifest, place
    return best


def _place(platform: Platform | None, os: str, order: list[tuple[str, str]]) -> int:
    """How far a platform is from the wanted one; beyond the order's length: it does not fit."""
    if platform is None:
        return len(order)
    found = normalized(platform)
    if found.os != os or (found.architecture, found.variant) not in order:
        return len(order) + 1
    return order.index((found.architecture, found.variant))


def _runs_there(architecture: str, variant: str) -> list[tuple[str, str]]:
    """Architectures and variants whose programs a machine runs, its own first."""
    if architecture == "amd64":
        levels = [f"v{level}" for level in range(_version(variant), 1, -1)]
        return [*(("amd64", level) for level in levels), ("amd64", ""), ("386", "")]
    if architecture == "arm":
        return [("arm", f"v{version}") for version in range(max(_version(variant), 5), 4, -1)]
    if architecture == "arm64":
        return [*(("arm64", level) for level in _arm64(variant)), *_runs_there("arm", "v8")]
    return [(architecture, variant)]


def _arm64(variant: str) -> list[str]:
    """Architecture levels up to this one; v9.x has all that v8.(x+5) has (Arm's A-profile manual)."""
    major, minor = _version(variant, 8), _version(variant.partition(".")[2], 0)
    newest = minor if major < 9 else min(minor + 5, 9)
    older = [f"v8.{level}" if level else "" for level in range(newest, -1, -1)]
    return older if major < 9 else [*(f"v9.{level}" if level else "v9" for level in range(minor, -1, -1)), *older]


def _version(text: str, default: int = 1) -> int:
    found = text.removeprefix("v").partition(".")[0]
    return int(found) if found.isascii() and found.isdigit() and len(found) < 3 else default
