"""A magic's line → arguments: shell quoting, and Python values put in safely. Never a shell.

Quoting is sh's: spaces separate, single quotes keep everything, double quotes keep spaces, a backslash keeps the next
character, `#` begins a comment. `{expression}` and `$name` take Python values, one argument each whatever is in them;
a list or tuple that stands alone becomes several. What is no Python (`$HOME`, `{}`), stays as it is, and so does
`{{.Field}}`, which belongs to `--format`. Within single quotes nothing is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dosirak.magics.errors import UsageError

_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_OPERATOR = re.compile(r"\|\|?|&&?|;|\d*>>?(&\d)?.*|\d*<<?.*")
_MISSING = object()


def split(line: str, names: Mapping[str, Any] | None = None) -> list[str]:
    """Return the line's arguments. Parameters: `names` are the variables that expressions see.

    Raises UsageError for an open quote, and for a shell operator (`|`, `>`, `&&`), which would be passed on silently.
    """
    return _Splitter(line, names or {}).split()


class _Splitter:
    def __init__(self, line: str, names: Mapping[str, Any]) -> None:
        self._line = line
        self._names = names
        self._at = 0
        self._word: list[str] = []
        self._started = False  # an empty quoted word is a word
        self._plain = True  # nothing of the word was quoted or replaced
        self._several: list[str] | None = None  # the word is one placeholder with a list in it
        self._words: list[str] = []

    def split(self) -> list[str]:
        while self._at < len(self._line):
            self._step()
        self._end()
        return self._words

    def _step(self) -> None:
        character = self._line[self._at]
        if character.isspace():
            self._end()
            self._at += 1
        elif character == "#" and not self._started:
            self._at = len(self._line)
        elif character == "'":
            self._add(self._until("'"))
            self._plain = False
        elif character == '"':
            self._double()
        elif character == "\\":
            self._escape()
        elif character in "{$" and self._placeholder(alone=not self._started):
            pass
        else:
            self._add(character)
            self._at += 1

    def _end(self) -> None:
        word = "".join(self._word)
        if self._several is not None:
            self._words += self._several
        elif self._started:
            if self._plain and _OPERATOR.fullmatch(word):
                raise UsageError(f"{word}: a shell's operator, and no shell runs this line; quote it to pass it on", 1)
            self._words.append(word)
        self._word, self._started, self._plain, self._several = [], False, True, None

    def _add(self, text: str) -> None:
        if self._several is not None:
            self._word.append(" ".join(self._several))
            self._several = None
        self._word.append(text)
        self._started = True

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at + 1)
        if end < 0:
            raise UsageError(f"no closing quotation: {self._line[self._at :].strip()[:40]}", 1)
        text = self._line[self._at + 1 : end]
        self._at = end + 1
        return text

    def _double(self) -> None:
        start = self._at
        self._at += 1
        self._plain = False
        self._add("")
        while self._at < len(self._line):
            character = self._line[self._at]
            if character == '"':
                self._at += 1
                return
            if character == "\\" and self._line[self._at + 1 : self._at + 2] in ('"', "\\", "$", "`"):
                self._add(self._line[self._at + 1])
                self._at += 2
            elif not (character in "{$" and self._placeholder(alone=False)):
                self._add(character)
                self._at += 1
        raise UsageError(f"no closing quotation: {self._line[start:].strip()[:40]}", 1)

    def _escape(self) -> None:
        following = self._line[self._at + 1 : self._at + 2]
        self._at += 2
        self._plain = False
        if following != "\n":  # a continued line
            self._add(following or "\\")

    def _placeholder(self, *, alone: bool) -> bool:
        """Replace what begins here when it is Python; return whether it was."""
        if self._line.startswith("{{", self._at):
            end = self._line.find("}}", self._at)
            end = len(self._line) if end < 0 else end + 2
            if '"' in self._line[self._at : end] and not alone:
                return False  # within double quotes the template's own end them
            self._add(self._line[self._at : end])
            self._at = end
            return True
        value, end = self._value()
        if value is _MISSING:
            return False
        self._at = end
        self._plain = False
        if alone and isinstance(value, list | tuple) and (end >= len(self._line) or self._line[end].isspace()):
            self._several, self._started = [str(member) for member in value], True
        else:
            self._add(str(value))
        return True

    def _value(self) -> tuple[Any, int]:
        if self._line[self._at] == "$":
            match = _NAME.match(self._line, self._at)
            if match and match.group(1) in self._names:
                return self._names[match.group(1)], match.end()
            return _MISSING, 0
        for end in range(self._at + 2, len(self._line) + 1):
            if self._line[end - 1] == "}" and (code := _compiled(self._line[self._at + 1 : end - 1])):
                try:
                    # The person's own namespace and the person's own words, as IPython's {expr} is.
                    return eval(code, dict(self._names)), end
                except NameError:
                    return _MISSING, 0  # `{a,b}` is the shell's, not ours
                except Exception as error:
                    raise UsageError(f"{{{code.co_filename}}}: {type(error).__name__}: {error}", 1) from error
        return _MISSING, 0


def _compiled(text: str) -> Any:
    try:
        return compile(text.strip(), text.strip(), "eval") if text.strip() else None
    except (SyntaxError, ValueError):
        return None
