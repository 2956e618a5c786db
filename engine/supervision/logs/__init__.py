"""What a monitor writes of its process's output: one file a format (`jsonlog`, `locallog`), rotation in `rotating`,
compression of rotated parts in a process of its own (`compress`, started by `compressor`)."""

from __future__ import annotations

from dosirak.engine.supervision.logs.jsonlog import JsonLog
from dosirak.engine.supervision.logs.locallog import LocalLog
from dosirak.engine.supervision.logs.rotating import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def open_log(entry: dict[str, Any]) -> Log:
    """The log that a launch asks for. Raises OSError."""
    options = {"max_size": entry["max_size"], "max_files": entry["max_files"], "compressed": entry["compress"]}
    if entry["driver"] == "local":
        return LocalLog(entry["path"], **options)
    return JsonLog(entry["path"], attributes=entry["attributes"], **options)
