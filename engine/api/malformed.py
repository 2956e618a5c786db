"""What Docker's server, a program in Go, says of a body that is no JSON: clients and their tests know its words. Pure.

Its words: Go, encoding/json/scanner.go. Where the mistake is, and of which kind, Python's own reader finds out.
"""

from __future__ import annotations

import json
import re

# Beyond that nobody reads the message, and looking for the mistake would take too long.
_LIMIT = 1 << 16
_STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_WHERE = (
    ("Expecting property name", "looking for beginning of object key string"),
    ("Expecting value", "looking for beginning of value"),
    ("Expecting ':'", "after object key"),
    ("Invalid control character", "in string literal"),
    ("Invalid \\escape", "in string escape code"),
    ("Invalid \\uXXXX", "in \\u hexadecimal character escape"),
    ("Illegal trailing comma before end of object", "looking for beginning of object key string"),
    ("Illegal trailing comma before end of array", "looking for beginning of value"),
)
TRAILING = "unexpected content after JSON"


def explain(body: bytes) -> str | None:
    """The mistake in Go's words, None if it is none of syntax (or not worth looking for)."""
    if len(body) > _LIMIT:
        return None
    text = body.decode(errors="replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return _go(text, error)
    except RecursionError:
        return "exceeded max depth"
    except ValueError:  # a number of more digits than Python reads
        pass
    return None


def _go(text: str, error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data":
        return TRAILING
    place = error.pos
    if error.msg.startswith("Invalid \\escape"):
        place += 1
    elif error.msg.startswith("Illegal trailing comma"):
        place = error.pos + len(text[error.pos + 1 :]) - len(text[error.pos + 1 :].lstrip()) + 1
    rest = text[place:].lstrip() if error.msg.startswith("Expecting") else text[place:]
    if not rest or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    where = next((words for begin, words in _WHERE if error.msg.startswith(begin)), "")
    if not where:  # Expecting ','
        where = "after object key:value pair" if _in_object(text[:place]) else "after array element"
    return f"invalid character {_quoted(rest[0])} {where}"


def _in_object(before: str) -> bool:
    """Whether the innermost bracket that is open is a brace."""
    opened: list[str] = []
    for character in _STRING.sub("", before):
        if character in "{[":
            opened.append(character)
        elif character in "}]" and opened:
            opened.pop()
    return opened[-1:] == ["{"]


def _quoted(character: str) -> str:
    """As Go's quoteChar."""
    return {"'": r"'\''", '"': "'\"'", "\n": r"'\n'", "\t": r"'\t'", "\r": r"'\r'"}.get(character, f"'{character}'")
