"""A container in the foreground: attach, start, move the streams, pass signals on, return the exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dosirak.magics.doors import Result, Session
from dosirak.magics.errors import DosirakError, Interrupted, UsageError
from dosirak.magics.look import words
from dosirak.magics.objects.exit import ExitStatus
from dosirak.magics.streams import detaching, terminal
from dosirak.magics.streams.exit import ExitWatch
from dosirak.magics.streams.interrupts import Interrupts
from dosirak.magics.streams.pump import Input, Pump

if TYPE_CHECKING:
    from dosirak.magics.engine import Engine
    from dosirak.magics.streams.hijack import Hijacked

GRACE = 10.0
"""Seconds an interrupted container has in a notebook until it is killed, as `stop` gives it."""


ESCAPED = "read escape sequence"
"""What `attach` and `exec` fail with when a person detaches, as docker does (`run` and `start` succeed)."""


@dataclass(frozen=True)
class Options:
    """How a container is attached to. `removed`: it goes when it ends (--rm). `forward`: signals reach it.

    `open_stdin`: its standard input is open (-i). `started`: it runs already (attach). `key_bytes` are the detach
    keys as a terminal sends them, `detach_keys` as the person wrote them.
    """

    name: str
    tty: bool = False
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    open_stdin: bool = False
    removed: bool = False
    forward: bool = True
    detach_keys: str = ""
    key_bytes: bytes = b"\x10\x11"
    started: bool = False


def start(engine: Engine, identity: str) -> None:
    """Start the container. Raises DosirakError with the status docker gives: 127, 126 or 125."""
    try:
        engine.post(f"/containers/{identity}/start")
    except DosirakError as error:
        error.exit_code = start_status(error.message)
        raise


def start_status(message: str) -> int:
    """Return what a failed start means: 127 not found, 126 can't be executed, 125 anything else (docker/cli, run)."""
    if any(words_ in message for words_ in ("executable file not found", "no such file or directory")):
        return 127
    return 126 if any(words_ in message for words_ in ("permission denied", "is a directory")) else 125


def run(session: Session, identity: str, options: Options) -> Result:
    """Attach to the container, start it, and stay until it ends; the result's value is its exit status.

    Raises Interrupted when the person interrupted a cell, DosirakError when it can't be started.
    """
    interactive = options.tty and options.stdin and session.door.is_terminal
    check_terminal(session, options.tty and options.stdin)
    numbers = [signal.SIGINT]
    if session.door.is_terminal or not session.door.escalates:
        numbers += [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    if interactive:
        numbers.append(signal.SIGWINCH)
    with Interrupts(tuple(numbers)) as interrupts, contextlib.ExitStack() as cleanup:
        stream = _attach(session, identity, options)
        if stream is not None:
            cleanup.callback(stream.close)
        watch = ExitWatch(session.engine, identity, "removed" if options.removed else _condition(options))
        cleanup.callback(watch.close)
        if not options.started:
            start(session.engine, identity)
        signals = _Signals(session, identity, options)
        if interactive:
            signals.resize()
            cleanup.enter_context(terminal.raw())
        pump = Pump(
            stream,
            session.door.sink(),
            interrupts,
            framed=not options.tty,
            source=_source(session, options),
            detach_keys=options.key_bytes if interactive else b"",
            on_signal=signals.take,
            on_tick=signals.tick,
        )
        pump.run(None if watch.over else watch)
        if signals.left:
            raise Interrupted(f"interrupted: detached from {options.name}, which runs on")
        if pump.detached and options.started:
            raise DosirakError(ESCAPED)
        if pump.detached:
            return Result(_container(session, identity), "")
        code = watch.status()
    if signals.interrupted and session.door.escalates:
        raise Interrupted(f"interrupted: {options.name} ended with {words.exit_status(code)}")
    return Result(_status(session, identity, code, options), exit_code=code)


def check_terminal(session: Session, wanted: bool) -> None:
    """Refuse a pty fed from something that is no terminal, at the command line; a cell's body is welcome.

    Raises DosirakError in Docker's words.
    """
    if wanted and session.door.body() is None and not session.door.escalates and not os.isatty(0):
        raise DosirakError("the input device is not a TTY")


def detach_keys(flag: str) -> tuple[str, bytes]:
    """Return the keys that detach: as a person writes them, and as a terminal sends them. Raises UsageError."""
    text = detaching.chosen(flag)
    try:
        return text, detaching.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _condition(options: Options) -> str:
    return "not-running" if options.started else "next-exit"


def _attach(session: Session, identity: str, options: Options) -> Hijacked | None:
    if not (options.stdin or options.stdout or options.stderr):
        return None
    query = {
        "stream": True,
        "stdin": options.stdin,
        "stdout": options.stdout,
        "stderr": options.stderr,
        "detachKeys": options.detach_keys or None,
    }
    return session.engine.hijack(f"/containers/{identity}/attach", query)


def _source(session: Session, options: Options) -> Input | None:
    if not options.stdin or not options.open_stdin:
        return None
    source = session.door.source()
    if options.tty and source.fd is None:
        if session.door.body() is None:
            session.door.note("-it: a cell has no terminal, so the input ends at once; or write it in a cell's body")
        # A pty has no half-close: its line discipline ends the input at ^D.
        source.data += b"\x04" if not source.data or source.data.endswith(b"\n") else b"\x04\x04"
        source.keep_open = True
    return source


def _container(session: Session, identity: str) -> object:
    from dosirak.magics.objects.container import Container

    return Container.of(session.engine, identity)


def _status(session: Session, identity: str, code: int, options: Options) -> ExitStatus:
    memory = False
    if code == 128 + signal.SIGKILL and not options.removed:
        state = session.engine.get(f"/containers/{identity}/json").get("State", {})
        memory = bool(state.get("OOMKilled"))
    return ExitStatus.of(code, identity, memory)


class _Signals:
    """What a signal at the client means for the container."""

    def __init__(self, session: Session, identity: str, options: Options) -> None:
        self._session = session
        self._identity = identity
        self._options = options
        self._deadline = 0.0
        self.interrupted = 0
        self.left = False

    def take(self, number: int, count: int) -> None:
        """Pass one signal on; a notebook's second interrupt kills, a third one leaves the container alone."""
        if number == signal.SIGWINCH:
            return self.resize()
        self.interrupted += 1
        if not self._options.forward or self.interrupted > 2:
            self.left = True
        elif not self._session.door.escalates:
            self._kill(signal.Signals(number).name)
        elif self.interrupted == 1:
            self._deadline = time.monotonic() + GRACE
            self._session.door.note("interrupted: SIGINT sent; interrupt again to " + self._threat)
            self._kill("SIGINT")
        else:
            self._last_resort()
        return None

    def tick(self) -> bool:
        """Kill the container when its time after the first interrupt is over; return whether to leave it."""
        if self._deadline and time.monotonic() > self._deadline:
            self._last_resort()
        return self.left

    def resize(self) -> None:
        """Tell the container's pty how large our terminal is."""
        rows, columns = terminal.size()
        with contextlib.suppress(DosirakError):
            self._session.engine.post(f"/containers/{self._identity}/resize", {"h": rows, "w": columns})

    @property
    def _threat(self) -> str:
        return "detach" if self._options.started else f"kill it (in {GRACE:.0f} s it is killed anyway)"

    def _last_resort(self) -> None:
        self._deadline = 0.0
        if self._options.started:
            self.left = True  # not ours to kill
        else:
            self._kill("SIGKILL")

    def _kill(self, name: str) -> None:
        engine, path = self._session.engine, f"/containers/{self._identity}/kill"
        try:
            engine.post(path, {"signal": name})
        except DosirakError as error:
            # It may have ended in between; or the service has, and the next one knows the container.
            if error.exit_code == 125:
                with contextlib.suppress(DosirakError):
                    engine.revive()
                    engine.post(path, {"signal": name})
