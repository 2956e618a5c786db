"""The keys that detach from a container: those of the flag, of the docker CLI's configuration, or Docker's own."""

from __future__ import annotations

import json
import os
from pathlib import Path


def chosen(flag: str) -> str:
    """`flag`, or else "detachKeys" of ~/.docker/config.json (DOCKER_CONFIG names another folder); "" when there is
    neither. A file that can't be read says nothing."""
    if flag:
        return flag
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    keys = document.get("detachKeys") if isinstance(document, dict) else None
    return keys if isinstance(keys, str) else ""


def parse(text: str) -> bytes:
    """Return the bytes of "ctrl-p,ctrl-q"; the default for nothing.

    Raises ValueError in Docker's words.
    """
    if not text:
        return b"\x10\x11"
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys.append(ord(key))
        elif (
            key.lower().startswith("ctrl-") and len(key) == 6 and key[5].lower() in "abcdefghijklmnopqrstuvwxyz@[\\]^_"
        ):
            keys.append(ord(key[5].upper()) & 0x1F)
        else:
            raise ValueError(f"invalid detach keys ({text}): Unknown character: '{key}'")
    return bytes(keys)
