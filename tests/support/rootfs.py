"""A small image's root: Debian's static busybox with its applets as symbolic links."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "var": 0o755,
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\naudio:x:29:user\n",
    "etc/hostname": "busybox\n",
}
_EPOCH = 1_700_000_000


@cache
def busybox_path() -> Path:
    """The machine's static busybox; skips the test that asks where there is none."""
    found = shutil.which("busybox") or "/bin/busybox"
    path = Path(found).resolve()
    if not path.exists():
        pytest.skip("busybox is not installed (Debian: apt install busybox-static)")
    return path


@cache
def busybox_tar() -> bytes:
    """The root as an uncompressed tar, the same bytes each time."""
    busybox = busybox_path()
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in _DIRECTORIES.items():
            archive.addfile(_member(name, tarfile.DIRTYPE, mode))
        for name, text in _FILES.items():
            data = text.encode()
            archive.addfile(_member(name, tarfile.REGTYPE, 0o644, size=len(data)), io.BytesIO(data))
        program = busybox.read_bytes()
        archive.addfile(_member("bin/busybox", tarfile.REGTYPE, 0o755, size=len(program)), io.BytesIO(program))
        for applet in sorted(set(applets) - {"busybox"}):
            archive.addfile(_member(f"bin/{applet}", tarfile.SYMTYPE, 0o777, target="busybox"))
    return buffer.getvalue()


def changed_root(files: Mapping[str, bytes] = {}, links: Mapping[str, str] = {}) -> bytes:
    """The root's tar with some members' contents exchanged, or the members themselves for symbolic links."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(busybox_tar())) as source,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in source:
            if any(member.name.startswith(f"{link}/") for link in links):
                continue
            if member.name in links:
                archive.addfile(_member(member.name, tarfile.SYMTYPE, 0o777, target=links[member.name]))
            elif member.name in files:
                content = files[member.name]
                archive.addfile(_member(member.name, tarfile.REGTYPE, 0o644, size=len(content)), io.BytesIO(content))
            else:
                archive.addfile(member, source.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def make_root(directory: Path) -> Path:
    """The same root unpacked into `directory`: a bundle's or a peer's rootfs."""
    unpack(busybox_tar(), directory)
    return directory


def unpack(archive: bytes, directory: Path) -> None:
    """Unpack a tar of our own making as it is, owners and modes too."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        # An attribute and not an argument: Debian 12's Python, 3.11.2, has no filters yet.
        opened.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        opened.extractall(directory)


def _member(name: str, kind: bytes, mode: int, *, size: int = 0, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname, member.mtime = kind, mode, size, target, _EPOCH
    return member
