"""Compiled filters, each made once: kept on disk by the hash of what they were made from.

<data>/seccomp/<sha256 of compiler version, machine and document>    the program, and its own sha256 behind it
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from dosirak.engine.runtime.seccomp import compiler, tables
from dosirak.engine.runtime.seccomp import profile as profiles
from dosirak.engine.runtime.seccomp.document import read
from dosirak.engine.runtime.seccomp.profile import Profile

# Each profile makes a few kilobytes; those not asked for longest go.
_KEPT = 64
_DIGEST = 32


class Filter:
    """A `linux.seccomp` and, behind a descriptor that closes with this object, the program it was compiled to."""

    __slots__ = ("document", "fd")

    def __init__(self, document: bytes, program: bytes) -> None:
        self.document = document
        self.fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        os.write(self.fd, program)

    def fileno(self) -> int:
        """The descriptor; many processes may have it, so it is read by pread(2)."""
        return self.fd

    def __del__(self) -> None:
        os.close(self.fd)


class Filters:
    """The filters that are kept in a directory. May be used by several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def compile(self, profile: Profile, bounding: AbstractSet[str]) -> Filter | None:
        """The filter of a container with this bounding set; None: the profile filters nothing. Raises ProfileError."""
        document = profiles.resolve(profile, bounding)
        return None if document is None else self.load(msgspec.json.encode(document))

    def load(self, document: bytes) -> Filter:
        """The filter that a `linux.seccomp` describes. Raises ProfileError."""
        return Filter(document, self.find(document))

    def find(self, document: bytes) -> bytes:
        """The program of a `linux.seccomp`, from disk or made now. Raises ProfileError."""
        name = hashlib.sha256(b"%d %s %s" % (compiler.VERSION, tables.NATIVE.encode(), document)).hexdigest()
        path = self._directory / name
        program = _read(path)
        if program is None:
            program = compiler.compile_document(read(document))
            self._keep(path, program)
        return program

    def _keep(self, path: Path, program: bytes) -> None:
        """Beside and renamed. A disk that is full or read-only costs the next service some milliseconds, no more."""
        beside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            beside.write_bytes(program + hashlib.sha256(program).digest())
            beside.rename(path)
            kept = sorted(self._directory.iterdir(), key=lambda entry: entry.stat().st_mtime)
            for old in kept[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """None for a file that isn't there, or isn't whole (it was not fsynced before a power failure)."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    program, digest = data[:-_DIGEST], data[-_DIGEST:]
    return program if program and hashlib.sha256(program).digest() == digest else None
