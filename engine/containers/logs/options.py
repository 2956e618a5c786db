"""`--log-driver` and `--log-opt`: which are known, and what they mean for the log file. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dosirak.engine.containers.documents import LogConfig
from dosirak.engine.containers.logs import attributes
from dosirak.engine.containers.units import parse_size
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.go import parse_bool
from dosirak.engine.supervision.model import LogFile

if TYPE_CHECKING:
    from dosirak.engine.containers.model import Container

_KNOWN = frozenset({"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"})
# Of every driver but none. Ours never makes a container wait, so "non-blocking" changes nothing.
_COMMON = frozenset({"mode", "max-buffer-size"})
_MODES = frozenset({"", "blocking", "non-blocking"})
# The defaults of "local".
_LOCAL_SIZE, _LOCAL_FILES = 20 << 20, 5


def check_log_config(log: LogConfig) -> list[str]:
    """Check and complete it (in place). Returns warnings. Raises InvalidRequest."""
    log.type = log.type or "json-file"
    log.config = log.config or {}
    if log.type == "none":
        return []
    options = log.config
    mode = options.get("mode", "")
    if mode not in _MODES:
        raise InvalidRequest(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidRequest("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        parse_size(options["max-buffer-size"], 1024)
    if log.type not in ("json-file", "local"):
        raise InvalidRequest(f"logger: no log driver named '{log.type}' is registered")
    for name in options.keys() - _KNOWN - _COMMON:
        where = "log driver local" if log.type == "local" else "json-file log driver"
        raise InvalidRequest(f"unknown log opt '{name}' for {where}")
    log_file(log, Path())
    attributes.check(options)
    return []


def log_of(record: Container) -> LogFile | None:
    """What a container's monitor writes, and how; None without a log. Raises InvalidRequest."""
    file = log_file(record.host_config.log_config, Path(record.log_path))
    if file is None or file.driver == "local":
        return file  # whoever reads it knows the attributes
    found = attributes.attributes(record)
    return replace(file, attributes=msgspec.json.encode(found).decode()) if found else file


def log_file(log: LogConfig, path: Path) -> LogFile | None:
    """The log file's settings, without attributes; None for the driver "none". Raises InvalidRequest."""
    if log.type == "none":
        return None
    options = log.config or {}
    return _local_file(options, path) if log.type == "local" else _json_file(options, path)


def _json_file(options: dict[str, str], path: Path) -> LogFile:
    size = 0
    if "max-size" in options:
        size = parse_size(options["max-size"])
        if size <= 0:
            raise InvalidRequest("max-size must be a positive number")
    files = _number(options["max-file"]) if "max-file" in options else 1
    if files < 1:
        raise InvalidRequest("max-file cannot be less than 1")
    compress = _truth(options["compress"]) if "compress" in options else False
    if compress and (files == 1 or not size):
        raise InvalidRequest("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogFile(path, size, files, compress=compress)


def _local_file(options: dict[str, str], path: Path) -> LogFile:
    size, files, compress = _LOCAL_SIZE, _LOCAL_FILES, True
    if "max-size" in options:
        size = _named("max-size", options["max-size"], "invalid value for max-size: {}: ")
    if "max-file" in options:
        files = _named("max-file", options["max-file"], "invalid value for max-file: {}: ")
    if "compress" in options:
        compress = bool(_named("compress", options["compress"], "invalid boolean value for compress: "))
    if files < 0:
        raise InvalidRequest("max-file must not be negative")
    if compress and files <= 1:
        raise InvalidRequest("compression cannot be enabled when max file count is 1")
    # A size of nothing: a file an entry.
    return LogFile(path, max(1, size), max(1, files), driver="local", compress=compress)


def _named(name: str, value: str, prefix: str) -> int:
    read = {"max-size": parse_size, "max-file": _number, "compress": _truth}[name]
    try:
        return read(value)
    except InvalidRequest as error:
        raise InvalidRequest(prefix.format(value) + error.message) from error


def _number(text: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text) is None:
        raise InvalidRequest(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _truth(text: str) -> bool:
    found = parse_bool(text)
    if found is None:
        raise InvalidRequest(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return found
