"""Environment and labels: `-e`, `--env-file`, `--label`, `--label-file` (docker/cli, kvfile)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def environment(files: Iterable[str], values: Iterable[str]) -> list[str] | None:
    """Return Env: the files' variables, then `-e`'s; a bare name in a file takes this process's value."""
    variables: list[str] = []
    for name in files:
        variables += _read(name, os.environ)
    variables += values
    return variables or None


def labels(files: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    """Return Labels: the files' labels, then `--label`'s."""
    pairs: list[str] = []
    for name in files:
        pairs += _read(name, None)
    pairs += values
    return pair_map(pairs)


def pair_map(pairs: Iterable[str]) -> dict[str, str]:
    """Return {key: value} of "key=value" texts; a text without "=" has an empty value."""
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _read(name: str, known: Mapping[str, str] | None) -> list[str]:
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise ValueError(f"open {name}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        return list(_lines(data.removeprefix(b"\xef\xbb\xbf"), known))
    except ValueError as error:
        raise ValueError(f"invalid env file ({name}): {error}") from error


def _lines(data: bytes, known: Mapping[str, str] | None) -> Iterable[str]:
    for number, raw in enumerate(data.split(b"\n"), 1):
        raw = raw.removesuffix(b"\r")
        try:
            line = raw.decode().lstrip()
        except UnicodeDecodeError:
            raise ValueError(f"invalid utf8 bytes at line {number}: {list(raw)}".replace(",", "")) from None
        if not line or line.startswith("#"):
            continue
        key, equals, _ = line.partition("=")
        if not key:
            raise ValueError(f"no variable name on line '{line}'")
        if " " in key or "\t" in key:
            raise ValueError(f"variable '{key}' contains whitespaces")
        if equals:
            yield line
        elif known is not None and key in known:
            yield f"{key}={known[key]}"
