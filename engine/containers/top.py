"""`top`: a container's processes as ps(1) shows them, read from the host's /proc; ps itself is not needed.

Understood of ps's arguments: the usual forms (-ef, -eF, -el, aux, ux …) and own columns (-o pid,comm and the like).
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from dosirak.engine.containers.model import Top
from dosirak.engine.errors import InvalidRequest

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# /proc/PID/stat from its third field on: man page proc_pid_stat(5).
_STATE, _PPID, _PGRP, _SESSION, _TTY = 0, 1, 2, 3, 4
_UTIME, _STIME, _PRIORITY, _NICE, _THREADS, _START, _VSIZE, _RSS = 11, 12, 15, 16, 17, 19, 20, 21


class Process:
    """One process's numbers, read once."""

    def __init__(self, pid: int, now: float) -> None:
        """Raises OSError when it has ended."""
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_text(errors="replace")
        self.pid = pid
        self.comm = stat[stat.index("(") + 1 : stat.rindex(")")]
        self.stat = stat[stat.rindex(")") + 2 :].split()
        status = (folder / "status").read_text(errors="replace")
        self.uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2])
        words = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
        self.command = " ".join(word.decode(errors="replace") for word in words) or f"[{self.comm}]"
        self.started: float = _boot_time() + int(self.stat[_START]) / _TICKS
        self.elapsed: float = max(now - self.started, 1e-6)
        self.cpu: float = (int(self.stat[_UTIME]) + int(self.stat[_STIME])) / _TICKS

    def number(self, field: int) -> int:
        """A field of stat."""
        return int(self.stat[field])


@cache
def _boot_time() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("btime")).split()[1])


@cache
def _memory() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1]) * 1024


def _user(process: Process) -> str:
    """The host's name for the uid; a long one as the number, as ps does."""
    try:
        name = pwd.getpwuid(process.uid).pw_name
    except KeyError:
        return str(process.uid)
    return name if len(name) <= 32 else str(process.uid)


def _tty(process: Process) -> str:
    number = process.number(_TTY)
    if not number:
        return "?"
    major, minor = number >> 8 & 0xFFF, (number & 0xFF) | (number >> 12 & 0xFFF00)
    return f"pts/{minor + 256 * (major - 136)}" if 136 <= major <= 143 else f"tty{minor}" if major == 4 else "?"


def _clock(process: Process) -> str:
    seconds = int(process.cpu)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _short_clock(process: Process) -> str:
    return f"{int(process.cpu) // 60}:{int(process.cpu) % 60:02}"


def _start(process: Process) -> str:
    moment, now = time.localtime(process.started), time.localtime()
    if (moment.tm_year, moment.tm_yday) == (now.tm_year, now.tm_yday):
        return time.strftime("%H:%M", moment)
    return time.strftime("%b%d" if moment.tm_year == now.tm_year else "%Y", moment)


def _elapsed(process: Process) -> str:
    seconds = int(process.elapsed)
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 60 % 60:02}:{rest % 60:02}"
    if rest >= 3600 or days:
        clock = f"{rest // 3600:02}:{clock}"
    return f"{days}-{clock}" if days else clock


def _state(process: Process) -> str:
    nice = process.number(_NICE)
    marks = "<" if nice < 0 else "N" if nice > 0 else ""
    marks += "s" if process.number(_SESSION) == process.pid else ""
    marks += "l" if process.number(_THREADS) > 1 else ""
    return process.stat[_STATE] + marks


def _percent(value: float) -> str:
    return f"{value:.1f}"


_COLUMNS: dict[str, tuple[str, Callable[[Process], str]]] = {
    "user": ("USER", _user),
    "uid": ("UID", lambda process: str(process.uid)),
    "pid": ("PID", lambda process: str(process.pid)),
    "ppid": ("PPID", lambda process: process.stat[_PPID]),
    "pgid": ("PGID", lambda process: process.stat[_PGRP]),
    "sid": ("SID", lambda process: process.stat[_SESSION]),
    "c": ("C", lambda process: str(min(99, int(100 * process.cpu / process.elapsed)))),
    "pcpu": ("%CPU", lambda process: _percent(100 * process.cpu / process.elapsed)),
    "pmem": ("%MEM", lambda process: _percent(100 * process.number(_RSS) * _PAGE / _memory())),
    "vsz": ("VSZ", lambda process: str(process.number(_VSIZE) // 1024)),
    "rss": ("RSS", lambda process: str(process.number(_RSS) * _PAGE // 1024)),
    "sz": ("SZ", lambda process: str(process.number(_VSIZE) // _PAGE)),
    "tty": ("TTY", _tty),
    "stat": ("STAT", _state),
    "s": ("S", lambda process: process.stat[_STATE]),
    "pri": ("PRI", lambda process: str(60 + process.number(_PRIORITY))),
    "ni": ("NI", lambda process: process.stat[_NICE]),
    "nlwp": ("NLWP", lambda process: process.stat[_THREADS]),
    "psr": ("PSR", lambda process: process.stat[36]),
    "stime": ("STIME", _start),
    "start": ("START", _start),
    "etime": ("ELAPSED", _elapsed),
    "time": ("TIME", _clock),
    "comm": ("COMMAND", lambda process: process.comm),
    "args": ("COMMAND", lambda process: process.command),
    "cmd": ("CMD", lambda process: process.command),
}
_SYNONYMS = {
    **{"command": "args", "ucmd": "comm", "ucomm": "comm", "%cpu": "pcpu", "%mem": "pmem", "cputime": "time"},
    **{"euser": "user", "uname": "user", "euid": "uid", "pgrp": "pgid", "sess": "sid", "session": "sid"},
    **{"rssize": "rss", "rsz": "rss", "vsize": "vsz", "tt": "tty", "tname": "tty", "nice": "ni", "state": "s"},
    **{"start_time": "stime", "thcount": "nlwp"},
}

_Column = tuple[str, Callable[[Process], str]]


def _columns(names: Sequence[str]) -> list[_Column]:
    found = []
    for name in names:
        word, equals, title = name.partition("=")
        known = _COLUMNS.get(_SYNONYMS.get(word.lower(), word.lower()))
        if known is None:
            raise InvalidRequest(f'ps: error: unknown user-defined format specifier "{word}"')
        if equals and word.lower() != "pid" and title.strip().upper().startswith("PID"):
            raise InvalidRequest(f'specifying "{word}={title}" is not allowed')
        found.append((title.strip() or known[0] if equals else known[0], known[1]))
    return found


_FULL: list[_Column] = [("UID", _user), *_columns(["pid", "ppid", "c", "stime", "tty", "time", "cmd"])]
_EXTRA: list[_Column] = [
    ("UID", _user),
    *_columns(["pid", "ppid", "c", "sz", "rss", "psr", "stime", "tty", "time", "cmd"]),
]
_LONG: list[_Column] = [
    *_columns(["s", "uid", "pid", "ppid", "c", "pri", "ni", "sz", "tty", "time"]),
    ("CMD", lambda process: process.comm),
]
_BSD_USER: list[_Column] = [
    *_columns(["user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start"]),
    ("TIME", _short_clock),
    ("COMMAND", lambda process: process.command),
]
_BSD_PLAIN: list[_Column] = [
    *_columns(["pid", "tty", "stat"]),
    ("TIME", _short_clock),
    ("COMMAND", lambda process: process.command),
]
_PLAIN: list[_Column] = [*_columns(["pid", "tty", "time"]), ("CMD", lambda process: process.comm)]


def parse(text: str) -> list[_Column]:
    """The columns that ps's arguments ask for. Raises InvalidRequest for what is not understood."""
    words = text.split()
    chosen: list[_Column] = []
    formats: set[str] = set()
    bsd = False
    while words:
        word = words.pop(0)
        letters = word.removeprefix("-")
        bsd = bsd or not word.startswith("-")
        for at, letter in enumerate(letters):
            if letter in "oO":
                value = letters[at + 1 :] or (words.pop(0) if words else "")
                chosen += _columns([name for name in value.split(",") if name])
                break
            if letter not in "eAaxdwfFlugj":
                raise InvalidRequest(f"ps: unsupported option '{word}'")
            formats.add(letter)
    if chosen:
        if not any(title == "PID" for title, _ in chosen):
            raise InvalidRequest("Couldn't find PID field in ps output")
        return chosen
    return _layout(formats, bsd=bsd)


def _layout(formats: set[str], *, bsd: bool) -> list[_Column]:
    if bsd:
        return _BSD_USER if "u" in formats else _BSD_PLAIN
    for letter, layout in (("F", _EXTRA), ("l", _LONG), ("f", _FULL)):
        if letter in formats:
            return layout
    return _PLAIN


def table(pids: Sequence[int], columns: Sequence[_Column]) -> Top:
    """The processes, in the order of their ids; those that end meanwhile are left out."""
    now = time.time()
    rows = []
    for pid in sorted(pids):
        try:
            process = Process(pid, now)
            rows.append([value(process) for _, value in columns])
        except (OSError, ValueError, StopIteration):
            continue
    return Top([title for title, _ in columns], rows)
