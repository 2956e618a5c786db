"""Registries: a client of the OCI distribution spec (v1.1), as Docker's Hub and private registries speak it.

`hosts` says which servers stand behind a name (`configuration`: where that is written), `connection` speaks HTTP to
one of them (`challenge`, `credentials`, `tokens`, `certificates`: who we are, and who is there), `client` knows one
repository, `blobs` and `uploads` move its blobs, `pull` and `push` whole images (`packing`: layers made here are
compressed first), `transfers` brings each layer once, `searching` looks for repositories. `serving` is the other side:
a registry over the store here. `Registry` is the room's door.
aiohttp's client is imported at the first request to a registry: the service starts without it.
"""

from __future__ import annotations

from dosirak.engine.registry.credentials import Credentials
from dosirak.engine.registry.door import Registry
from dosirak.engine.registry.model import Message, Tell

__all__ = ["Credentials", "Message", "Registry", "Tell"]
