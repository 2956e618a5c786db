"""A page → its statements: prompts off, printed output left out, continued lines put together.

A page on which commands have prompts (`$ docker ps`, `root@host:~# docker ps`, `# docker ps`) also shows what they
printed: there, only what has a prompt is a command. On a page without prompts every line is one, but for comments.
Lines with a prompt of the container's own (`root@3f4c…:/# ls`, `/ # ls`) are typed into the command before them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dosirak.magics.errors import UsageError

_DOLLAR = re.compile(r"\s*[$%❯] (?=\S)")
_HOST = re.compile(r"\s*\[?[\w.-]+@[\w.-]+(:| )[^\s#$]*\]?[#$] ?(?=\S)")
_HASH = re.compile(r"\s*# (?=(sudo )?docker\s)")
_BARE = re.compile(r"\s*(sudo )?docker\s")
# A container's host name is the beginning of its id; shells without a name show the folder or themselves.
_INSIDE = re.compile(r"\s*(\[?root@[0-9a-f]{12}[: ][^\s#$]*\]?[#$]|/[\w./-]* [#$]|(ba)?sh-\d[\d.]*[#$]) ?")
_CONTINUED = re.compile(r"\s*> ?")
_SUDO = re.compile(r"sudo(\s+-[EHn]+)*\s+")
_NAMES = ("docker", "dosirak")
# What may leave a line unfinished, besides a backslash at its end.
_SUBSTITUTED = re.compile(r"\$\([^()]*\)|`[^`]*`")
_OPENING = re.compile(r"""["'`({]|<<|\b(for|while|until|if|case|select|do)\b|[|&]\s*$""")


@dataclass(frozen=True)
class Statement:
    """A command of a page. `line`: where it stands, from 1; `text`: as a shell reads it; `typed`: what is typed into
    it, line by line; `arguments`: of a plain docker command, what a shell has still to expand, else None."""

    line: int
    text: str
    typed: str = ""
    arguments: str | None = None


def read(page: str) -> list[Statement]:
    """The page's statements, in order. Raises UsageError for one that has no end."""
    lines = page.replace("\r\n", "\n").replace("\xa0", " ").split("\n")
    return list(_statements(lines, _prompt(lines)))


def _prompt(lines: list[str]) -> Callable[[str], re.Match[str] | None] | None:
    """What tells this page's commands from the rest; None where every line is one."""
    if any(_outside(line) for line in lines):
        return _outside
    if any(map(_HASH.match, lines)) and not any(map(_BARE.match, lines)):
        return _HASH.match
    return None


def _outside(line: str) -> re.Match[str] | None:
    if _INSIDE.match(line):
        return None
    return _DOLLAR.match(line) or _HOST.match(line)


def _statements(lines: list[str], prompt: Callable[[str], re.Match[str] | None] | None) -> Iterator[Statement]:
    at = 0
    while at < len(lines):
        first, line = at, lines[at]
        at += 1
        if prompt is not None:
            found = prompt(line)
            if found is None:
                continue
            line = line[found.end() :]
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        text = line.strip()
        while _unfinished(text):
            if at == len(lines):
                raise UsageError(f"line {first + 1}: this command has no end: {line.strip()[:60]}", 1)
            more = lines[at]
            if prompt is not None and (shown := _CONTINUED.match(more)):
                more = more[shown.end() :]
            text, at = f"{text}\n{more}", at + 1
        typed = []
        while at < len(lines) and (shown := _INSIDE.match(lines[at])):
            typed.append(lines[at][shown.end() :] + "\n")
            at += 1
            while at < len(lines) and not _INSIDE.match(lines[at]) and prompt is not None and not prompt(lines[at]):
                at += 1  # what it printed
        yield Statement(first + 1, text, "".join(typed), _plain(text))


def _unfinished(text: str) -> bool:
    """Whether a shell would read on, as `bash -n` tells."""
    ending = text.rstrip(" \t")
    if (len(ending) - len(ending.rstrip("\\"))) % 2 and ending == text:
        return True
    if not _OPENING.search(text) and "\n" not in text:
        return False
    done = subprocess.run(  # noqa: S603  # it is read, not run
        [shutil.which("bash") or "bash", "-n"],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        env={"LC_ALL": "C"},
        check=False,
    )
    return "end of file" in done.stderr or "end-of-file" in done.stderr or "unexpected EOF" in done.stderr


def _plain(text: str) -> str | None:
    """The arguments of a statement that is one docker command and nothing else, as they are written."""
    whole = text.replace("\\\n", " ")
    inner = whole
    while (outer := _SUBSTITUTED.sub("_", inner)) != inner:
        inner = outer  # what another command prints is an argument, whatever that command is
    words = shlex.shlex(inner, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    try:
        if any(set(word) <= set("();<>|&") for word in words if word):
            return None
    except ValueError:
        return None
    sudo = _SUDO.match(whole)
    name, _, rest = whole[sudo.end() if sudo else 0 :].partition(" ")
    return rest if name in _NAMES else None
