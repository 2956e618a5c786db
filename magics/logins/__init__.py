"""Who we are for registries, as Docker's clients keep it: `~/.docker/config.json` and the credential helpers it names.

`config` is the file, `helpers` speaks to `docker-credential-…` programs, `store` is the door. Passwords go from a
person or a store to the engine's socket and to nowhere else: a `Login` does not show what it holds.
"""

from __future__ import annotations

from dosirak.magics.logins.model import HUB, Login, hostname
from dosirak.magics.logins.store import Logins

__all__ = ["HUB", "Login", "Logins", "hostname"]
