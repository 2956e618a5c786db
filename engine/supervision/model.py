"""What the engine asks of the runtime and hears from it: plain data."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dosirak.engine.runtime.seccomp import Filter


@dataclass(frozen=True, slots=True)
class Attach:
    """A stream client, handed to the monitor as a socket (the caller's own object is closed by the hand-over).

    `sock`: any stream socket, also the HTTP client's own connection. `framed`: Docker's 8-byte multiplex header
    before each piece of output (without a terminal). `initial`: input that was read from the socket already. `gate`: no
    output goes to the client until this one's other end is closed, and how far the log goes is told through it
    (`Pump.hold`).
    """

    sock: socket.socket
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = b"\x10\x11"
    initial: bytes = b""
    gate: socket.socket | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """What is handed over."""
        return [self.sock] if self.gate is None else [self.sock, self.gate]

    def close(self) -> None:
        """Let it go, or what is left here of it once it was handed over."""
        for sock in self.sockets:
            sock.close()


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log: `driver` "json-file" or "local"; `max_size` in bytes before it is rotated (0: never), `max_files` kept,
    the rotated ones compressed if `compress`; `attributes`: a JSON object that each entry of a json-file carries."""

    path: Path
    max_size: int = 0
    max_files: int = 1
    driver: str = "json-file"
    compress: bool = False
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Restart:
    """Docker's restart policy: "no", "always", "on-failure", "unless-stopped"; `max_retries` 0 is without end.

    `restarts`: so many there were already.
    """

    policy: str = "no"
    max_retries: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """One process to start. `bundle` holds config.json; `spec`: the same, for the start to have it at once; `join`: OCI
    namespace type → descriptor of an existing one; `filter`: its linux.seccomp, compiled; `size`: rows and columns of
    its terminal; `init`: a first process of ours runs it (`init.py`); `meanwhile`: done while the start is under way,
    and the program runs only once it is."""

    id: str
    bundle: Path
    spec: Mapping[str, Any] | None = None
    log: LogFile | None = None
    stdin: bool = False
    stdin_once: bool = False
    attach: tuple[Attach, ...] = ()
    join: Mapping[str, int] = field(default_factory=dict)
    filter: Filter | None = None
    restart: Restart = Restart()
    init: bool = False
    size: tuple[int, int] | None = None
    meanwhile: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a service knows of a process whose monitor does not answer: its pid and pidfd (0 and -1 when it does not
    know), when it started (without a pid: when the last run ended), how often it was restarted."""

    pid: int
    pidfd: int
    at: float
    restarts: int


NOTHING_KNOWN = Known(0, -1, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exit code as a shell has it (128 + signal), whether the kernel killed for want of memory,
    when (unix time, seconds), and why it never started if it did not. `lost`: its monitor was killed, and it too."""

    code: int
    oom: bool
    at: float
    error: str = ""
    restarts: int = 0
    lost: bool = False
