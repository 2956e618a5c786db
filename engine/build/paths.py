"""Paths as text: the lexical rules of Docker (Go's path/filepath) where Python's differ."""

from __future__ import annotations

import posixpath


def clean(path: str) -> str:
    """The shortest equal path: no `.`, no inner `..`, no double slash; "" becomes "."."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def absolute(directory: str, path: str) -> str:
    """`path` seen from `directory` of a container's root, cleaned and absolute; `..` stops at the root."""
    return clean("/" + (path if path.startswith("/") else f"{directory}/{path}"))


def inside(path: str) -> str:
    """`path` relative to the root it is looked up in: no leading slash, `..` stops at the root; "" is the root."""
    return clean("/" + path)[1:]


def has_wildcards(path: str) -> bool:
    """Whether `path` is a pattern: an unescaped `*`, `?` or `[`."""
    escaped = False
    for char in path:
        if not escaped and char in "*?[":
            return True
        escaped = char == "\\" and not escaped
    return False


def shown(path: str) -> str:
    """`path` for a message: bytes that are no UTF-8 are spelled out."""
    return path.encode(errors="backslashreplace").decode()
