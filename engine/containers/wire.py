"""Docker's documents from JSON and to JSON, as Go's encoding/json treats them.

Reading: null is the same as absent; a name's case does not matter; a string may stand for a list of one (Go's
StrSlice); unknown fields are noted, so that nothing a client asks for is dropped without a word. Writing: the fields
that Docker leaves out when empty are out.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from dosirak.engine.containers.documents import (
    BindOptions,
    ContainerConfig,
    Document,
    DriverConfig,
    EndpointIPAMConfig,
    HealthConfig,
    HostConfig,
    ImageOptions,
    Mount,
    MountPoint,
    TmpfsOptions,
    VolumeOptions,
)
from dosirak.engine.errors import InvalidRequest

T = TypeVar("T", bound=Document)

_STRING_OR_LIST = frozenset({"Cmd", "Entrypoint", "Shell", "CapAdd", "CapDrop"})
_POINTERS = frozenset({"Init", "StopTimeout"})
_ALL = frozenset({"*"})
_PLAIN = frozenset({str, int, bool, float, type(None)})
# Go's `omitempty`, by type (moby, api/types): in all others every field is always there.
_OMITTED_WHEN_EMPTY: dict[type[Document], frozenset[str]] = {
    ContainerConfig: frozenset(
        {"ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout"}
        | {"Shell"}
    ),
    HostConfig: frozenset(
        {"Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Runtime", "Mounts", "Init"}
        | {"KernelMemory", "KernelMemoryTCP"}
    ),
    MountPoint: frozenset({"Type", "Name", "Driver"}),
    **dict.fromkeys(
        (HealthConfig, Mount, BindOptions, VolumeOptions, ImageOptions, TmpfsOptions, DriverConfig, EndpointIPAMConfig),
        _ALL,
    ),
}


def parse(kind: type[T], data: Any) -> tuple[T, list[str]]:
    """A document from decoded JSON (a dict).

    Returns it and the paths of unknown fields that are not empty. Raises InvalidRequest where a field has a wrong type.
    """
    unknown: list[str] = []
    try:
        return msgspec.convert(_clean(kind, data, "", unknown), kind), unknown
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid JSON: {error}") from error


def _clean(kind: type[Document], data: Any, path: str, unknown: list[str]) -> Any:
    if not isinstance(data, dict):
        return data
    plan = _plan(kind)
    cleaned = {}
    for name, value in data.items():
        if value is None:
            continue
        if name not in plan and (written := _folded(kind).get(name.lower())):
            name = written
        if name not in plan:
            if value not in ("", 0, False) and value != [] and value != {}:
                unknown.append(path + name)
            continue
        if isinstance(value, str) and name in _STRING_OR_LIST:
            value = [value]
        inner = plan[name]
        cleaned[name] = inner(value, f"{path}{name}.", unknown) if inner else value
    return cleaned


_Cleaner = Callable[[Any, str, list[str]], Any]


@functools.cache
def _plan(kind: type[Document]) -> dict[str, _Cleaner | None]:
    """How to clean each field's value, by its name on the wire."""
    return {field.encode_name: _cleaner(field.type) for field in msgspec.structs.fields(kind)}


@functools.cache
def _folded(kind: type[Document]) -> dict[str, str]:
    """The names on the wire by their lower case: Go's decoder takes any."""
    return {name.lower(): name for name in _plan(kind)}


def _cleaner(annotation: Any) -> _Cleaner | None:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return next((cleaner for cleaner in map(_cleaner, arguments) if cleaner), None)
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return lambda value, path, unknown: _clean(annotation, value, path, unknown)
    inner = _cleaner(arguments[-1]) if origin in (list, dict) else None
    if inner is None:
        return None
    return _list_cleaner(inner) if origin is list else _dict_cleaner(inner)


def _list_cleaner(inner: _Cleaner) -> _Cleaner:
    def clean(value: Any, path: str, unknown: list[str]) -> Any:
        if not isinstance(value, list):
            return value
        return [inner(item, path, unknown) for item in value if item is not None]

    return clean


def _dict_cleaner(inner: _Cleaner) -> _Cleaner:
    def clean(value: Any, path: str, unknown: list[str]) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: inner(item, f"{path}{key}.", unknown) for key, item in value.items()}

    return clean


class _Shown(NamedTuple):
    """How one field is written: its attribute, its name on the wire, when it is left out."""

    attribute: str
    name: str
    omitted: bool
    pointer: bool


@functools.cache
def _shown(kind: type[Document]) -> tuple[_Shown, ...]:
    omitted = next((_OMITTED_WHEN_EMPTY[base] for base in kind.__mro__ if base in _OMITTED_WHEN_EMPTY), frozenset())
    return tuple(
        _Shown(
            field.name,
            field.encode_name,
            omitted is _ALL or field.encode_name in omitted,
            field.encode_name in _POINTERS,
        )
        for field in msgspec.structs.fields(kind)
    )


def dump(document: Document) -> dict[str, Any]:
    """A document as Docker's JSON shows it (builtin types)."""
    shown = {}
    for attribute, name, omitted, pointer in _shown(type(document)):
        value = getattr(document, attribute)
        # A pointer in Go is left out when nil, but shown when it points to a zero ("Init": false, "StopTimeout": 0).
        if value or not omitted or (pointer and value is not None):
            shown[name] = value if type(value) in _PLAIN else _dump(value)
    return shown


def _dump(value: Any) -> Any:
    if isinstance(value, Document):
        return dump(value)
    if isinstance(value, list | tuple):
        return [_dump(item) for item in value]
    if isinstance(value, dict):
        return {key: _dump(item) for key, item in value.items()}
    return value
