"""Text from outside (names, labels, commands, logs, messages) made safe to show.

Two ways only: `escape` for HTML and `visible` for plain text. Everything that a view shows goes through one of them.
"""

from __future__ import annotations

import html
import re

# C0 and C1 controls, and what reorders or hides text: zero width, bidi marks and embeddings, isolates, BOM.
_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_INVISIBLE_IN_LINE = re.compile(f"[{_UNSEEN}\t\n]")


def escape(value: object) -> str:
    """Return `value` as HTML text that is also safe within a quoted attribute."""
    return html.escape(visible(value), quote=True)


def visible(value: object) -> str:
    """Return `value` with control, bidi and zero-width characters written as escapes; line ends and tabs stay."""
    return _INVISIBLE.sub(_written, str(value))


def one_line(value: object) -> str:
    """Return `value` as `visible` does, with line ends and tabs written as escapes too: for a table's cell."""
    return _INVISIBLE_IN_LINE.sub(_written, str(value))


def as_json(document: object, indent: str | int) -> str:
    """Return a document as JSON that a terminal may show: what it would obey or not show is written as JSON escapes."""
    import json

    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _written(match: re.Match[str]) -> str:
    code = ord(match.group())
    short = {9: r"\t", 10: r"\n", 13: r"\r", 27: r"\e"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
