"""`RUN --mount=…`: the comma-separated fields of a mount, checked. Wording: BuildKit's commands_runmount."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Any

from dosirak.engine.build.dockerfile.instructions import Expander
from dosirak.engine.build.dockerfile.text import suggestion
from dosirak.engine.build.errors import DockerfileError
from dosirak.engine.go import parse_bool

NETWORKS = ("default", "none", "host")
SECURITY = ("sandbox", "insecure")
_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = (
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of one RUN step. `kind` is bind, cache, tmpfs, secret or ssh; `size` in bytes, 0: no limit."""

    kind: str = "bind"
    source_stage: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def check_mount(text: str) -> None:
    """Refuses, while the file is read, what no variable could make right: a `from` with a variable in it.

    Raises DockerfileError.
    """
    for key, equals, value in _fields(text):
        if key == "from" and equals and "$" in value[:-1]:
            raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")


def source_stage(text: str) -> str:
    """What the mount's `from` names, "" when it has none."""
    return next((value for key, _, value in _fields(text) if key == "from"), "")


def parse_mount(text: str, word: Expander) -> Mount:
    """The mount that `text` describes, variables put in by `word`.

    Raises DockerfileError for an unknown key, a bad value, or keys that do not go together.
    """
    values: dict[str, Any] = {}
    kind = "bind"
    for key, equals, raw in _fields(text):
        value = word(raw) if equals else ""
        name = _ALIASES.get(key, key)
        if not equals and name not in ("readonly", "readwrite", "required"):
            raise DockerfileError(f"invalid field '{key}' must be a key=value pair")
        if name == "type":
            kind = _one_of("mount type", value, _TYPES)
        else:
            _set(values, kind, name, key, value, bool(equals), text)
    return _checked(kind, values)


def _fields(text: str) -> list[tuple[str, str, str]]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise DockerfileError(f"failed to parse csv mounts: {error}") from error
    parts = [field.partition("=") for field in (rows[0] if rows else [])]
    return [(key.lower(), equals, value) for key, equals, value in parts]


def _set(values: dict[str, Any], kind: str, name: str, key: str, value: str, has_value: bool, text: str) -> None:
    match name:
        case "from":
            values["source_stage"] = value
        case "source" | "target" | "id" | "env":
            values[name] = value
        case "readonly" | "readwrite":
            flag = _boolean(key, value) if has_value else True
            values["read_only"] = flag == (name == "readonly")
        case "required" if kind in ("secret", "ssh"):
            values["required"] = _boolean(key, value) if has_value else True
        case "size" if kind == "tmpfs":
            values["size"] = _bytes(key, value)
        case "required" | "size":
            raise DockerfileError(f"unexpected key '{key}' for mount type '{kind}'")
        case "sharing":
            values["sharing"] = _one_of("sharing value", value, _SHARING)
        case "mode" | "uid" | "gid":
            values[name] = _number(key, value, 8 if name == "mode" else 10)
        case _:
            raise DockerfileError(f"unexpected key '{key}' in '{text}'{suggestion(key, _KEYS)}")


def _checked(kind: str, values: dict[str, Any]) -> Mount:
    if kind not in ("secret", "ssh", "cache"):
        for name in ("mode", "uid", "gid"):
            if name in values:
                raise DockerfileError(f'{name} not allowed for "{kind}" type mounts')
    if values.get("sharing") and kind != "cache":
        raise DockerfileError(f"invalid cache sharing set for {kind} mount")
    mount = Mount(kind=kind, **{"read_only": kind not in ("cache", "tmpfs"), **values})
    if kind == "secret":
        if mount.source_stage:
            raise DockerfileError("secret mount should not have a from")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    elif kind != "ssh" and not mount.target:
        raise DockerfileError(f"invalid {kind} mount: a target is required")
    return mount


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    if value.lower() not in allowed:
        raise DockerfileError(f'unsupported {what} "{value}"{suggestion(value, allowed)}')
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    found = parse_bool(value)
    if found is None:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return found


def _number(key: str, value: str, base: int) -> int:
    digits = r"[0-7]{1,11}" if base == 8 else r"[0-9]{1,10}"
    if not re.fullmatch(digits, value) or int(value, base) >= 2**32:
        raise DockerfileError(f"invalid value {value} for {key}")
    return int(value, base)


def _bytes(key: str, value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None or len(value) > 20:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
