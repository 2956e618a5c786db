"""Digests: checked here, and only here, before they become a path.

Only sha256 is stored. The pattern's end is `\\Z`: Python's `$` would let a trailing newline through.
"""

from __future__ import annotations

import hashlib
import re

from dosirak.engine.errors import InvalidRequest

PATTERN = r"\Asha256:[0-9a-f]{64}\Z"

_match = re.compile(PATTERN).match


def hex_part(digest: str) -> str:
    """The 64 hex digits of a digest. Raises InvalidRequest for anything that is not one."""
    if _match(digest) is None:
        raise InvalidRequest(f"invalid digest {digest[:200]!r}: expected sha256:<64 lower-case hex digits>")
    return digest[7:]


def digest_of(data: bytes) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
