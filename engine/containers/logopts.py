"""`--log-driver` and `--log-opt`: which are known, and what they mean for the log file. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from dosirak.engine.containers.documents import LogConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.runtime.model import LogFile

_HONOURED = frozenset({"max-size", "max-file"})
_KNOWN = _HONOURED | {"labels", "labels-regex", "env", "env-regex", "compress", "tag", "mode", "max-buffer-size"}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# The "local" driver's own defaults; our file of either driver is the json-file.
_LOCAL_SIZE, _LOCAL_FILES = 20 << 20, 5


def parse_size(text: str) -> int:
    """Bytes of "10m", "1.5g", "4096". Raises InvalidRequest."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidRequest(f"invalid size: '{text}'")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def check_log_config(log: LogConfig) -> list[str]:
    """Check and complete it (in place). Returns warnings. Raises InvalidRequest."""
    log.type = log.type or "json-file"
    log.config = log.config or {}
    if log.type == "none":
        return []
    if log.type not in ("json-file", "local"):
        raise InvalidRequest(f"logger: no log driver named '{log.type}' is registered")
    for name in log.config:
        if name not in _KNOWN:
            raise InvalidRequest(f"unknown log opt '{name}' for {log.type} log driver")
    log_file(log, Path())
    ignored = sorted(log.config.keys() - _HONOURED)
    return [f"Log options that are not supported yet are ignored: {', '.join(ignored)}"] if ignored else []


def log_file(log: LogConfig, path: Path) -> LogFile | None:
    """The log file's settings; None for the driver "none". Raises InvalidRequest."""
    if log.type == "none":
        return None
    options = log.config or {}
    local = log.type == "local"
    size = parse_size(options["max-size"]) if options.get("max-size") else _LOCAL_SIZE if local else 0
    text = options.get("max-file", "")
    if text and not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"invalid max-file: '{text}'")
    files = int(text) if text else _LOCAL_FILES if local else 1
    if files < 1:
        raise InvalidRequest("max-file cannot be less than 1")
    if files > 1 and not size:
        raise InvalidRequest("max-file option requires the max-size option to be set")
    return LogFile(path, size, files)
