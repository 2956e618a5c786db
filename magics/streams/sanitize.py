"""A container's output made safe to put into a notebook.

A notebook keeps what it shows, so text must not carry commands to a terminal: colours, carriage returns, backspaces
and tabs pass; window titles, links, clipboard writes, cursor moves and C1 controls do not. In a terminal nothing is
changed, as with docker.
"""

from __future__ import annotations

import codecs
import re

_SEQUENCE = re.compile(
    r"\x1b\[[0-9;:]*m"  # SGR: kept
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC up to their terminator
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # other CSI
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]",  # controls but BS TAB LF CR
    re.DOTALL,
)
_UNFINISHED = re.compile(r"\x1b(?:[\]PX^_][^\x07\x9c]{0,65536}|\[[0-?]*[ -/]*|[ -/]*)?\Z", re.DOTALL)
_STRAY = re.compile(r"\x1b(?!\[[0-9;:]*m)")
_SGR = re.compile(r"\x1b\[[0-9;:]*m")


class Text:
    """Bytes in, safe text out, whatever the cuts: UTF-8 and escape sequences may be split between pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, final: bool = False) -> str:
        """Return the text that is complete now; with `final`, what is left as well."""
        text = self._rest + self._decoder.decode(data, final)
        self._rest = ""
        if not final and (cut := _UNFINISHED.search(text)):
            text, self._rest = text[: cut.start()], text[cut.start() :]
        return _STRAY.sub("", _SEQUENCE.sub(_kept, text))


def _kept(match: re.Match[str]) -> str:
    return match.group() if _SGR.fullmatch(match.group()) else ""
