"""What a served registry is, and what it refuses. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class Wanted(msgspec.Struct, frozen=True, rename="pascal"):
    """A registry to serve.

    `host`: the address to listen at; `port`: 0 for any. `read_only`: nobody can push. `user`, `password`: who may come
    in, everybody if empty; or `htpasswd`: the path of a file of such. `certificate`, `key`: paths of PEM files (TLS).
    """

    host: str = "127.0.0.1"
    port: int = 5000
    read_only: bool = False
    user: str = ""
    password: str = ""
    htpasswd: str = ""
    certificate: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Wanted({self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class Served:
    """A registry that is served now: `address` is what clients write before an image's name ("127.0.0.1:5000")."""

    address: str
    read_only: bool
    user: str
    tls: bool


class Refused(Exception):
    """An answer that is an error, with the distribution spec's code (spec.md, "Error Codes")."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
