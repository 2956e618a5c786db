"""The container's log in Docker's json-file format: one JSON object a line.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}

An entry is a line of output; a line longer than 16 KiB is split, its parts without the newline, as Docker does (but
never inside a character). Between stream and time stand the attributes that `--log-opt labels=…` and the like choose.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring

from dosirak.engine.go import rfc3339
from dosirak.engine.supervision.logs.rotating import LONGEST, Log, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {1: "stdout", 2: "stderr"}


class JsonLog(Log):
    """`--log-driver json-file`."""

    def __init__(self, path: str, *, attributes: str = "", **options: Any) -> None:
        """Parameters: `attributes`: a JSON object that each entry carries, "" for none; the others as for `Log`."""
        super().__init__(path, **options)
        self._attributes = f',"attrs":{attributes}' if attributes else ""

    def _append(self, stream: int, data: bytes) -> None:
        tail = f'","stream":"{_NAMES[stream]}"{self._attributes},"time":"{rfc3339(time.time_ns())}"}}\n'
        if b"\\" not in data and len(max(data.split(b"\n"), key=len)) < LONGEST:
            text = data.decode("utf-8", "replace")
            # No backslash in the output: each escaped newline of the whole is a real one, so one pass does all lines.
            body = encode_basestring(text)[1:].removesuffix('"')
            record = ('{"log":"' + body).replace("\\n", "\\n" + tail + '{"log":"')
            record = record.removesuffix('{"log":"') if text.endswith("\n") else record + tail
        else:
            lines = [encode_basestring(line.decode("utf-8", "replace"))[:-1] for line in _lines(data)]
            record = "".join([f'{{"log":{line}{tail}' for line in lines])
        written, at = record.encode(), 0
        while at < len(written):
            end = self._fitting(written, at)
            self._put(written[at:end] if at or end < len(written) else written)
            at = end


def _lines(data: bytes) -> list[bytes]:
    """Lines with their newlines, cut at the longest entry. Only "\n" ends a line."""
    found = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        if end - at > LONGEST:
            end = cut(data, at)
        found.append(data[at:end])
        at = end
    return found
