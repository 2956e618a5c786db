"""A login, and what registries are called in Docker's configuration."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

HUB = "https://index.docker.io/v1/"
"""What Docker's clients call the Hub in their configuration."""

_HUB_NAMES = frozenset(("", "docker.io", "index.docker.io", "registry-1.docker.io"))


@dataclass(frozen=True)
class Login:
    """Docker's AuthConfig: a user with a password, or a token that stands for both."""

    server: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.user or self.identity_token or self.registry_token)

    @property
    def document(self) -> dict[str, str]:
        """What the engine is told."""
        fields = {
            "username": self.user,
            "password": self.password,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
            "serveraddress": self.server,
        }
        return {name: value for name, value in fields.items() if value}

    @property
    def header(self) -> str:
        """`X-Registry-Auth`."""
        return encoded(self.document)


def encoded(document: Any) -> str:
    """A document as Docker's headers carry it."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def key_of(registry: str) -> str:
    """What a registry (a domain, or what a person logs in to) is called in the configuration."""
    host = hostname(registry)
    return HUB if registry == HUB or host in _HUB_NAMES else host


def hostname(server: str) -> str:
    """A server's name and port, of what may be a URL."""
    return (server.partition("://")[2] or server).partition("/")[0]
