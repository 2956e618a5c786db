"""Which platform this machine is, and which of several images is made for it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable

from dosirak.engine.content.model import Descriptor, Platform

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


@functools.cache
def host() -> Platform:
    """This machine's platform, in Go's words."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def choose(manifests: Iterable[Descriptor], wanted: Platform | None = None) -> Descriptor | None:
    """The manifest for the platform (this machine's by default) among those of an image index; None if there is none.

    One that names no variant fits any; one without a platform is taken when nothing else fits.
    """
    want = wanted or host()
    best: Descriptor | None = None
    best_rank = 0
    for manifest in manifests:
        rank = _rank(manifest.platform, want)
        if rank > best_rank:
            best, best_rank = manifest, rank
    return best


def _rank(platform: Platform | None, want: Platform) -> int:
    if platform is None:
        return 1
    if (platform.os, platform.architecture) != (want.os, want.architecture):
        return 0
    if platform.variant == want.variant:
        return 3
    return 0 if platform.variant and want.variant else 2
