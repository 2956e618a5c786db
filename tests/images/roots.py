"""Root filesystems as tars: made once by mmdebstrap from the machine's own Debian mirror, and kept between runs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from images.recipes import Recipe

from support.rootfs import busybox_tar

_SUITE = "bookworm"
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_LEFT_OUT = ("doc/*", "man/*", "locale/*", "info/*", "lintian/*")
EPOCH = 1_700_000_000
"""Every file's time, so that the same packages make the same layer."""


def layers(recipe: Recipe, cache: Path) -> list[bytes]:
    """The recipe's layers, the lowest first. Raises CalledProcessError when there is no mirror to make them from."""
    if recipe.packages is None:
        found = [busybox_tar()]
    else:
        base = debian((), cache)
        found = [base.read_bytes()]
        if recipe.packages:
            found.append(added(base, debian(recipe.packages, cache)))
    if recipe.files or recipe.links:
        found.append(_own(recipe))
    return found


def cached(packages: tuple[str, ...], cache: Path) -> bool:
    """Whether such a system was made already."""
    return _path(packages, cache).exists()


def debian(packages: tuple[str, ...], cache: Path) -> Path:
    """A minimal system with these packages."""
    path = _path(packages, cache)
    if path.exists():
        return path
    program = shutil.which("mmdebstrap")
    if program is None:
        raise SystemExit("mmdebstrap is not here (Debian: apt install mmdebstrap)")
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.tar")
    options = [f"--dpkgopt=path-exclude=/usr/share/{what}" for what in _LEFT_OUT]
    if packages:
        options.append(f"--include={','.join(packages)}")
    mirror = next((str(source) for source in _SOURCES if source.exists()), "http://deb.debian.org/debian")
    try:
        subprocess.run(
            [program, "--variant=minbase", "--quiet", *options, _SUITE, str(part), mirror],
            check=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        )
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _path(packages: tuple[str, ...], cache: Path) -> Path:
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    return cache / f"{_SUITE}-{key}.tar"


def added(base: Path, whole: Path) -> bytes:
    """What a system has that a smaller one has not, or has otherwise: a layer on top of it."""
    known = dict(_members(base))
    buffer = io.BytesIO()
    with (
        tarfile.open(whole) as source,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in source:
            if known.get(member.name) != _print(source, member):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def _members(path: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            yield member.name, _print(archive, member)


def _print(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    content = b""
    if member.isreg() and (file := archive.extractfile(member)) is not None:
        content = hashlib.sha256(file.read()).digest()
    return member.type, member.mode, member.uid, member.gid, member.linkname, content


def _own(recipe: Recipe) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in recipe.files.items():
            member, data = tarfile.TarInfo(name), text.encode()
            member.size, member.mode, member.mtime = len(data), 0o755 if text.startswith("#!") else 0o644, EPOCH
            archive.addfile(member, io.BytesIO(data))
        for name, target in recipe.links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.mtime = tarfile.SYMTYPE, target, 0o777, EPOCH
            archive.addfile(member)
    return buffer.getvalue()
