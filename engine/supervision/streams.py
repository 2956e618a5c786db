"""Moving bytes between a process, its log and its attached clients.

A client that lags does not make a logged container wait: its bytes go to a file (`spill`), up to a limit. At that
limit, and without a log at once, the process's writes wait as with any pipe. With a log, one that then takes nothing
at all for a while is let go; without one its bytes would be lost, so it is waited for, as in Docker.
"""

from __future__ import annotations

import fcntl
import os
import time

from dosirak.engine.supervision import loop as loops
from dosirak.engine.supervision import wire
from dosirak.engine.supervision.clients import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.engine.runtime.container import Process
    from dosirak.engine.supervision.logs.rotating import Log

_CHUNK = 65536
# Seconds for which a client that is a spill's limit behind may take nothing.
_PATIENCE = 10.0
# So much input waits for the process before reading from clients pauses.
_STDIN_LIMIT = 65536
# Seconds between looks whether a process that has closed its terminal has opened it again.
_REOPEN = 0.2


class Pump:
    """The streams of one process at a time: output to log and clients, clients' input to it."""

    def __init__(self, loop: loops.Loop, log: Log | None, on_log: Callable[[], None]) -> None:
        self._loop, self._log, self._on_log = loop, log, on_log
        self._clients: dict[int, Client] = {}
        # No longer attached, and not finished: they have not taken all of their output yet.
        self.leaving: set[Client] = set()
        self._outputs: dict[int, int] = {}
        self._stdin = -1
        self._typed = bytearray()
        self._running = False
        self._stdin_ended = self._stdin_full = False
        self.stdin_once = False
        self.on_detach: Callable[[], None] = _nobody
        self.terminal = -1
        self._paused = self._terminal_closed = False

    def start(self, process: Process) -> None:
        """Serve a newly started process."""
        self._running = True
        self.terminal = process.terminal
        self._stdin = process.stdin if process.terminal < 0 else process.terminal
        for fd, stream in ((process.stdout, 1), (process.stderr, 2), (process.terminal, 1)):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs[fd] = stream
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
        self._watch_process()
        self._write_stdin()

    def attach(self, client: Client, initial: bytes) -> None:
        """Add a client; `initial` is input of it that was read already."""
        self._clients[client.sock.fileno()] = client
        self._watch_client(client)
        if initial:
            self._take_input(client, initial)

    def hold(self, client: Client, gate: wire.Socket) -> None:
        """For a client whom somebody shows the log first: its output waits until the gate's other end is closed.

        How far the log goes is told through the gate: the size of its file, which comes along, or -1 without one. From
        there on, beginning with unfinished lines, which are not in the log yet, everything goes to the client.
        """
        client.hold()
        size, files = self._log.place() if self._log else (-1, [])
        for stream, rest in self._log.unfinished() if self._log else ():
            client.put(stream, rest)
        try:
            wire.send(gate, wire.pack({"size": size}), files)
        except OSError:
            pass  # whoever wanted to know has gone: so says the gate, too
        self._loop.watch(gate.fileno(), loops.IN, lambda _events: self._release(client, gate))

    def _release(self, client: Client, gate: wire.Socket) -> None:
        self._loop.forget(gate.fileno())
        gate.close()
        client.held, client.moved = False, time.monotonic()
        if client in self.leaving:
            self._send_last(client)
        elif self._clients.get(client.sock.fileno()) is client:
            self._watch_client(client)

    def end(self) -> None:
        """The process has ended: take what its pipes still hold, flush the log. Clients are let go by `close`."""
        for fd in list(self._outputs):
            # No more than was there at its end: what it left running in the background may write for ever.
            left = _capacity(fd)
            while left > 0 and (size := self._read(fd)):
                left -= size
            self._close_output(fd)
        if self._stdin >= 0:
            self._close_stdin()
        self._stdin = self.terminal = -1
        self._typed.clear()
        self._running = self._paused = self._terminal_closed = self._stdin_ended = self._stdin_full = False
        if self._log:
            self._log.flush()
            self._on_log()

    def close(self) -> None:
        """Let the clients go, each once it has all its output: those that haven't are `leaving` and need the loop."""
        for client in list(self._clients.values()):
            self._loop.forget(client.sock.fileno())
            self.leaving.add(client)
            if not client.held:
                self._send_last(client)
        self._clients.clear()

    def _send_last(self, client: Client, events: int = loops.OUT) -> None:
        alive = not events & loops.GONE and (not client.waiting or client.send_waiting())
        if alive and client.waiting:
            self._loop.watch(client.sock.fileno(), loops.OUT, lambda events: self._send_last(client, events))
        else:
            self._loop.forget(client.sock.fileno())
            self.leaving.discard(client)
            client.finish()

    # The process's side

    def _watch_process(self) -> None:
        """Watch each descriptor for just what is wanted of it now; a terminal is input and output at once."""
        for fd in {*self._outputs, self._stdin} - {-1}:
            events = 0
            if fd in self._outputs and not self._paused:
                events |= loops.IN
            if fd == self._stdin and self._stdin_full:
                events |= loops.OUT
            if events and not (fd == self.terminal and self._terminal_closed):
                self._loop.watch(fd, events, self._handler(fd))
            else:
                self._loop.forget(fd)

    def _handler(self, fd: int) -> Callable[[int], None]:
        return lambda events: self._process_ready(fd, events)

    def _process_ready(self, fd: int, events: int) -> None:
        if fd in self._outputs and events & (loops.IN | loops.GONE):
            self._output_ready(fd)
        if fd == self._stdin and events & (loops.OUT | loops.GONE):
            self._write_stdin()

    # Output

    def _output_ready(self, fd: int) -> None:
        if self._read(fd) is None:
            if fd == self.terminal:
                self._await_reopening()
            else:
                self._close_output(fd)
        elif not self._paused and any(client.full for client in self._clients.values()):
            self._pause()

    def _read(self, fd: int) -> int | None:
        """One read, handed on. Returns its size; 0: nothing now; None: the stream has ended."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # EIO: the last slave of the pty is closed
        if not data:
            return None
        stream = self._outputs[fd]
        if self._log:
            self._log.write(stream, data)
            self._on_log()
        for client in list(self._clients.values()):
            if not client.put(stream, data):
                self._lose_reader(client)
            elif client.waiting:
                self._watch_client(client)
        return len(data)

    def _await_reopening(self) -> None:
        """Nobody holds the terminal now, but the process lives and may open /dev/console or /dev/tty again. The master
        must not be closed: that would hang up the process's session (SIGHUP)."""
        self._terminal_closed = True
        self._watch_process()
        self._loop.after(_REOPEN, self._look_for_reopening)

    def _look_for_reopening(self) -> None:
        if self.terminal < 0:
            return
        self._terminal_closed = False
        self._output_ready(self.terminal)
        if not self._terminal_closed:
            self._watch_process()

    def _close_output(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._outputs[fd]
        if fd == self.terminal:
            self.terminal = self._stdin = -1
        os.close(fd)

    def _pause(self) -> None:
        self._paused = True
        self._watch_process()
        self._loop.after(1.0, self._check_stalled)

    def _check_stalled(self) -> None:
        if not self._paused:
            return
        now = time.monotonic()
        for client in list(self._clients.values()):
            if client.full and self._log and now - client.moved > _PATIENCE:
                self._drop(client)
        self._resume()
        if self._paused:
            self._loop.after(1.0, self._check_stalled)

    def _resume(self) -> None:
        if self._paused and not any(client.full for client in self._clients.values()):
            self._paused = False
            self._watch_process()

    # Clients

    def _watch_client(self, client: Client) -> None:
        events = loops.GONE
        if client.waiting and not client.held:
            events |= loops.OUT
        if client.reading and len(self._typed) < _STDIN_LIMIT:
            events |= loops.IN
        if client.gone and not events & loops.IN:
            self._loop.forget(client.sock.fileno())  # or epoll would tell of its hang-up without end
        else:
            self._loop.watch(client.sock.fileno(), events, lambda events: self._client_ready(client, events))

    def _client_ready(self, client: Client, events: int) -> None:
        if events & loops.OUT and not client.send_waiting():
            self._lose_reader(client)
        elif events & loops.IN:
            self._read_client(client)
        elif events & loops.GONE:
            if client.stdin and client.reading and len(self._typed) >= _STDIN_LIMIT:
                client.gone = True
            else:
                self._drop(client)
        if client.sock.fileno() in self._clients:
            self._watch_client(client)
            self._resume()

    def _read_client(self, client: Client) -> None:
        try:
            data = client.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take_input(client, data)
            return
        # Half-closed: no more input, but output still goes to it.
        client.reading = False
        if client.gone:
            self._drop(client)
        else:
            self._input_ended(client)

    def _take_input(self, client: Client, data: bytes) -> None:
        if not client.stdin:
            return
        detaches = False
        if self.terminal >= 0 or not client.framed:
            data, detaches = client.cut_detach(data)
        if self._stdin >= 0 or not self._running:
            self._typed += data
            self._write_stdin()
        if detaches:
            client.stdin = False
            self._drop(client)
            self.on_detach()

    def _input_ended(self, client: Client) -> None:
        if client.stdin and self.stdin_once:
            self._stdin_ended = True
            self._write_stdin()

    def _lose_reader(self, client: Client) -> None:
        """It takes no more output. What it sent as input before may still lie in its socket."""
        if client.stdin and client.reading:
            client.forget_waiting()
        else:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        fd = client.sock.fileno()
        if self._clients.pop(fd, None) is None:
            return
        self._loop.forget(fd)
        self._input_ended(client)
        client.finish()
        self._resume()

    # Input

    def _write_stdin(self) -> None:
        """Write what waits; once all is written and the input has ended, close."""
        if self._stdin < 0:
            return
        full, waiting = False, len(self._typed)
        try:
            while self._typed:
                written = os.write(self._stdin, self._typed[:_CHUNK])
                del self._typed[:written]
        except BlockingIOError:
            full = True
        except OSError:
            self._typed.clear()  # EPIPE: the process has closed its stdin
        if full != self._stdin_full:
            self._stdin_full = full
            self._watch_process()
        if self._stdin_ended and not self._typed and self.terminal < 0:
            self._close_stdin()
        if waiting >= _STDIN_LIMIT > len(self._typed):
            for client in self._clients.values():
                self._watch_client(client)

    def _close_stdin(self) -> None:
        self._loop.forget(self._stdin)
        os.close(self._stdin)
        self._stdin = -1


def _nobody() -> None:
    """Nobody wants to know."""


def _capacity(fd: int) -> int:
    """The most that can wait to be read: a pipe's size; a terminal's buffer is far smaller than the 1 MiB here."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except OSError:
        return 1 << 20
