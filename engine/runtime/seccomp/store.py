"""Compiled filters, each made once: kept in memory and, by the hash of what they were made from, on disk.

<data>/seccomp/<sha256 of compiler version, machine and document>    the program, and its own sha256 behind it
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from dosirak.engine.runtime.seccomp import profile as profiles
from dosirak.engine.runtime.seccomp import tables
from dosirak.engine.runtime.seccomp.profile import Profile

# Each profile makes a few kilobytes; those not asked for longest go.
_KEPT = 64
_DIGEST = 32


class Filters:
    """The filters of one engine. May be used by several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def compile(self, profile: Profile, bounding: AbstractSet[str]) -> tuple[bytes, bytes] | None:
        """`linux.seccomp` for a container with this bounding set, and its program; None: the profile filters nothing.

        Raises ProfileError.
        """
        document = profiles.resolve(profile, bounding)
        if document is None:
            return None
        text = msgspec.json.encode(document)
        return text, self.find(text)

    def find(self, document: bytes) -> bytes:
        """The program of a `linux.seccomp`, from disk or made now. Raises ProfileError."""
        from dosirak.engine.runtime.seccomp import compiler

        name = hashlib.sha256(b"%d %s %s" % (compiler.VERSION, tables.NATIVE.encode(), document)).hexdigest()
        path = self._directory / name
        program = _read(path)
        if program is None:
            from dosirak.engine.runtime.seccomp.document import read

            program = compiler.compile_document(read(document))
            self._keep(path, program)
        return program

    def _keep(self, path: Path, program: bytes) -> None:
        """Beside and renamed. A disk that is full or read-only costs the next service some milliseconds, no more."""
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            beside.write_bytes(program + hashlib.sha256(program).digest())
            beside.rename(path)
            kept = sorted(self._directory.iterdir(), key=lambda entry: entry.stat().st_mtime)
            for old in kept[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            beside.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """None for a file that isn't there, or isn't whole (it was not fsynced before a power failure)."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    program, digest = data[:-_DIGEST], data[-_DIGEST:]
    return program if program and hashlib.sha256(program).digest() == digest else None
