"""Who may come in to a served registry: one user with a password, or those of an `htpasswd` file (`htpasswd -B`)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ctypes
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dosirak.engine.errors import InvalidRequest
from dosirak.engine.layers.threads import in_thread
from dosirak.engine.registry.serving.model import Wanted

_LARGEST = 1 << 20
_MOST_KNOWN = 1024
_LONGEST = 512
_AT_ONCE = 2
# One that no password has: an unknown user takes as long to refuse as a known one.
_NOBODY = "$2y$05$abcdefghijklmnopqrstuu0000000000000000000000000000000"
_CRYPT_DATA = 32768
"""sizeof(struct crypt_data), crypt_rn(3)."""


class Passwords:
    """Checks basic authentication. An `htpasswd` file is read again when it has changed."""

    def __init__(self, user: str, password: str, file: Path | None) -> None:
        self._plain = f"{user}:{password}".encode() if user else b""
        self._user = user
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._hashes: Mapping[str, str] = {}
        # What was let in, as a keyed hash: bcrypt is slow on purpose, and a pull asks many times.
        self._key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        # Strangers' guesses must not take the threads that the engine works with.
        self._few = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    def of(cls, wanted: Wanted) -> Passwords:
        """Those of a registry to be served. Blocking. Raises InvalidRequest for a file that is none."""
        found = cls(wanted.user, wanted.password, Path(wanted.htpasswd) if wanted.htpasswd else None)
        found._refresh()
        return found

    @property
    def wanted(self) -> bool:
        """Whether anybody has to say who they are."""
        return bool(self._plain or self._file)

    @property
    def told(self) -> str:
        """The users, as a listing shows them."""
        return self._user or ", ".join(sorted(self._hashes)[:5]) + (", …" if len(self._hashes) > 5 else "")

    async def admit(self, authorization: str) -> bool:
        """Whether a request with this header may come in."""
        if not self.wanted:
            return True
        scheme, _, given = authorization.partition(" ")
        try:
            said = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            return False
        if self._plain:
            return hmac.compare_digest(said, self._plain)
        if len(said) > _LONGEST:
            return False
        async with self._few:
            return await in_thread(self._check, said)

    def _check(self, said: bytes) -> bool:
        self._refresh()
        name, _, password = said.partition(b":")
        kept = self._hashes.get(name.decode(errors="replace"), _NOBODY)
        # With the hash it was checked against: what the file says no more lets nobody in.
        mark = hmac.digest(self._key, kept.encode() + b"\0" + said, "sha256")
        if mark in self._known:
            return True
        right = hmac.compare_digest(_hashed(password, kept).encode(), kept.encode())
        if right and len(self._known) < _MOST_KNOWN:
            self._known.add(mark)
        return right

    def _refresh(self) -> None:
        if self._file is None:
            return
        try:
            status = self._file.stat()
            if (stamp := (status.st_mtime_ns, status.st_ino)) == self._stamp:
                return
            with self._file.open("rb") as file:
                self._hashes = _parse(file.read(_LARGEST + 1), self._file)
        except OSError as error:
            if self._stamp is None:
                raise InvalidRequest(f"htpasswd file {self._file}: {os.strerror(error.errno or 0).lower()}") from error
        except InvalidRequest:
            if self._stamp is None:
                raise
        else:
            self._known.clear()
            self._stamp = stamp
        # Else: it is just being written, or was lost; those of before are still let in.


def _parse(text: bytes, file: Path) -> dict[str, str]:
    """The users of an htpasswd file. Raises InvalidRequest for one without any that can be used."""
    found = {}
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        name, colon, kept = line.strip().partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not (name and colon and kept.startswith(("$2y$", "$2b$", "$2a$"))):
            raise InvalidRequest(f"htpasswd file {file}, line {number}: not a bcrypt password (make it by htpasswd -B)")
        found[name] = kept
    if not found or len(text) > _LARGEST:
        raise InvalidRequest(f"htpasswd file {file}: it names nobody, or is larger than {_LARGEST} bytes")
    return found


def _hashed(password: bytes, setting: str) -> str:
    """crypt_rn(3), which is safe in threads; "*" where it fails."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt_rn.restype = ctypes.c_char_p
    room = ctypes.create_string_buffer(_CRYPT_DATA)
    found = library.crypt_rn(password.split(b"\0")[0], setting.encode(), room, _CRYPT_DATA)
    return found.decode() if found else "*"
