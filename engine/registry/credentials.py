"""Who we are for a registry, as clients send it with a request (`X-Registry-Auth`, the body of `POST /auth`)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from dosirak.engine.errors import InvalidRequest

_FIELDS = {"identity_token": "identitytoken", "registry_token": "registrytoken", "server_address": "serveraddress"}


class Credentials(msgspec.Struct, frozen=True, rename=_FIELDS):
    """Docker's AuthConfig. Kept in memory for one request; neither logged nor shown.

    `identity_token`: exchanged for tokens instead of a password. `registry_token`: sent to the registry as it is.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return "Credentials(…)"

    @property
    def basic(self) -> str:
        """The Authorization header of RFC 7617; "" without a user name."""
        if not self.username:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


HUB = "https://index.docker.io/v1/"
"""What Docker's clients call the Hub."""


def decode(header: str) -> Credentials:
    """Reads `X-Registry-Auth`: base64url of JSON, padded or not. Raises InvalidRequest, without the value."""
    return _decode(header, Credentials | None, "X-Registry-Auth") or Credentials()


def decode_all(header: str) -> dict[str, Credentials]:
    """Reads `X-Registry-Config`: credentials by the registry they are for. Raises InvalidRequest, without the value."""
    return _decode(header, dict[str, Credentials] | None, "X-Registry-Config") or {}


def of_domain(known: Mapping[str, Credentials], domain: str) -> Credentials:
    """Those for a registry's domain; a registry may be called by a URL."""
    if domain == "docker.io" and HUB in known:
        return known[HUB]
    for name, credentials in known.items():
        if (name.partition("://")[2] or name).partition("/")[0] == domain:
            return credentials
    return Credentials()


def domain_of(address: str) -> str:
    """The registry that clients mean by a server's address; the Hub has several, "" among them."""
    domain = (address.partition("://")[2] or address).partition("/")[0]
    return "docker.io" if domain in ("", "index.docker.io", "registry-1.docker.io") else domain


def _decode(header: str, kind: Any, what: str) -> Any:
    text = header.strip()
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        # The cause would show what was sent.
        raise InvalidRequest(f"invalid {what} header: {type(error).__name__}") from None
