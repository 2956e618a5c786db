"""Lists that registries give in parts, each naming where the next one is (distribution spec, "Listing tags")."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dosirak.engine.images import documents

if TYPE_CHECKING:
    from dosirak.engine.registry.connection import Connection

_MOST = 100
_NEXT = re.compile(r'<([^<>]+)>\s*;\s*rel="?next')


async def pages(connection: Connection, path: str) -> AsyncIterator[bytes]:
    """The parts of a list; one that leads in a circle, or has no end, ends.

    Raises RegistryError, Unreachable, Unauthorized, InvalidRequest.
    """
    seen: set[str] = set()
    while path not in seen and len(seen) < _MOST:
        seen.add(path)
        headers, data = await connection.get(path, documents.MAX_MANIFEST)
        yield data
        following = _NEXT.search(headers.get("Link", ""))
        if following is None:
            return
        path = following[1]
