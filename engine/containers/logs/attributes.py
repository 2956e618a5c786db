"""`--log-opt labels=… env=… labels-regex=… env-regex=… tag=…`: what is noted beside each entry. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dosirak.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dosirak.engine.containers.model import Container

_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def attributes(record: Container) -> dict[str, str]:
    """Name → value, as the container's log options choose. Raises InvalidRequest for a tag that makes no sense."""
    options = record.host_config.log_config.config or {}
    found = _chosen(record.config.labels or {}, options.get("labels", ""), options.get("labels-regex", ""))
    variables = dict(item.split("=", 1) for item in record.config.env or () if "=" in item)
    found |= _chosen(variables, options.get("env", ""), options.get("env-regex", ""))
    if tag := options.get("tag", ""):
        found["tag"] = _FIELD.sub(lambda match: _field(record, match[1]), tag)
    return found


def check(options: Mapping[str, str]) -> None:
    """Raises InvalidRequest for a pattern or a template that can't be understood."""
    for name in ("labels-regex", "env-regex"):
        _pattern(options.get(name, ""))
    tag = options.get("tag", "")
    rest = _FIELD.sub("", tag)
    if "{{" in rest:
        raise InvalidRequest(f"template: log-tag: not understood: {tag} (only fields, as in {{{{.Name}}}}/{{{{.ID}}}})")
    for match in _FIELD.finditer(tag):
        if match[1] not in _FIELDS:
            raise InvalidRequest(f"template: log-tag:1: can't evaluate field {match[1]} in type loggerutils.info")


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    found = {name: values[name] for name in names.split(",") if name in values}
    if pattern:
        wanted = _pattern(pattern)
        found |= {name: value for name, value in values.items() if wanted.search(name)}
    return found


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidRequest(f"error parsing regexp: {error}: `{text}`") from error


def _field(record: Container, name: str) -> str:
    return _FIELDS[name](record)


def _bare(image: str) -> str:
    return image.removeprefix("sha256:")


# The names are those of moby daemon/logger/loginfo.go.
_FIELDS: dict[str, Callable[[Container], str]] = {
    "ID": lambda record: record.id[:12],
    "FullID": lambda record: record.id,
    "Name": lambda record: record.name,
    "ImageID": lambda record: _bare(record.image)[:12],
    "ImageFullID": lambda record: record.image,
    "ImageName": lambda record: record.config.image,
    "Command": lambda record: " ".join([record.path, *record.args]),
    "ContainerID": lambda record: record.id,
    "ContainerName": lambda record: f"/{record.name}",
    "ContainerImageID": lambda record: record.image,
    "ContainerImageName": lambda record: record.config.image,
    "DaemonName": lambda record: "docker",
}
