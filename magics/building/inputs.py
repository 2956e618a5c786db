"""What goes to the engine ahead of a build: secrets, ssh agents, and where the context lies on this machine."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosirak.magics.errors import DosirakError, NotSupported, UsageError

if TYPE_CHECKING:
    from dosirak.magics.building.context import Source
    from dosirak.magics.engine import Engine


def send(
    engine: Engine, secrets: Iterable[str], agents: Iterable[str], source: Source, contexts: Iterable[str] = ()
) -> tuple[str | None, bool]:
    """Sends what the flags name, and where `source` lies if the engine is on this machine.

    Returns the word to build with, None when there is nothing to send, and whether the engine reads the context
    where it lies: then it need not travel.

    Raises UsageError, and DosirakError when a secret can't be read.
    """
    document: dict[str, Any] = {}
    for text in secrets:
        name, content = read_secret(text)
        document.setdefault("Secrets", {})[name] = base64.b64encode(content).decode()
    for text in agents:
        name, path = find_agent(text)
        document.setdefault("Agents", {})[name] = path
    for text in contexts:
        name, context = read_context(text)
        document.setdefault("Contexts", {})[name] = context
    if source.folder is not None and engine.is_near:
        document |= _place(source.folder, source.text)
    if not document:
        return None, False
    answer = engine.post("/dosirak/build/inputs", body=document)
    return str(answer["ID"]), bool(answer.get("InPlace"))


def read_context(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME=FOLDER` or `NAME=docker-image://IMAGE` → its name, and the context as the engine takes it.

    Raises UsageError, NotSupported, DosirakError when the folder is not there.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"invalid context value: {text}, expected key=value")
    kind, scheme, rest = value.partition("://")
    if kind == "docker-image" and rest:
        return name, {"Image": rest}
    if scheme or value.startswith("git@"):
        raise NotSupported(f"--build-context {text}: it is a folder or docker-image://IMAGE")
    if not Path(value).is_dir():
        raise DosirakError(f"failed to get build context {name}: stat {value}: no such file or directory")
    place = _place(Path(value), None)
    if not place:
        raise NotSupported(f"--build-context {text}: the folder's path has bytes that are no text")
    return name, {"Folder": place["Context"]}


def _place(folder: Path, text: str | None) -> dict[str, Any]:
    """A folder as this process sees it, so that the engine can tell whether it sees the same."""
    real = folder.resolve()
    if not str(real).isprintable():
        return {}  # JSON has no word for bytes that are no text
    status = real.stat()
    place: dict[str, Any] = {"Context": {"Path": str(real), "Device": status.st_dev, "Inode": status.st_ino}}
    return place | ({"Dockerfile": text} if text is not None else {})


def read_secret(text: str) -> tuple[str, bytes]:
    """`id=NAME[,src=FILE|,env=VARIABLE]` → its name and content; without a source, the variable or file so called."""
    fields = _fields(text, "secret")
    known = {"id", "src", "source", "env", "type"}
    for key in fields:
        if key not in known:
            raise UsageError(f"unexpected key '{key}' in '{key}={fields[key]}'")
    kind, name = fields.get("type", ""), fields.get("id", "")
    if kind not in ("", "file", "env"):
        raise UsageError(f"unsupported secret type {kind!r}")
    path, variable = fields.get("src") or fields.get("source") or "", fields.get("env", "")
    if kind == "env" and path and not variable:
        path, variable = "", path
    name = name or (Path(path).name if path else variable)
    if not name:
        raise UsageError(f"invalid secret {text!r}: an id is needed")
    if not variable and not path and kind != "file" and name in os.environ:
        variable = name
    if variable:
        return name, os.environb.get(os.fsencode(variable), b"")
    try:
        return name, Path(path or name).expanduser().read_bytes()
    except OSError as error:
        raise DosirakError(f"failed to stat {path or name}: {(error.strerror or str(error)).lower()}") from error


def find_agent(text: str) -> tuple[str, str]:
    """`default`, `NAME` or `NAME=SOCKET` → its name and the agent's socket."""
    name, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise UsageError(f"invalid empty ssh agent socket for {name!r}: make sure SSH_AUTH_SOCK is set")
    if not Path(path).is_socket():
        raise UsageError(f"--ssh {text}: {path} is not an agent's socket: add the key to an agent (ssh-add)")
    return name, os.fspath(Path(path).absolute())


def _fields(text: str, what: str) -> dict[str, str]:
    try:
        row = next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        raise UsageError(f"failed to parse csv {what}: {text!r}") from None
    fields = {}
    for field in row:
        key, equals, value = field.partition("=")
        if not equals:
            raise UsageError(f"invalid field '{field}' must be a key=value pair")
        fields[key.strip().lower()] = value
    return fields
