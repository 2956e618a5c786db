"""Moving bytes between a process, its log and its attached clients.

A client is a stream socket, often the HTTP client's own connection. Output goes to it in Docker's multiplexed
frames, or raw with a terminal. A client that lags makes the container's writes wait, as with any pipe; one that takes
nothing at all for a while is let go, so that it never holds the container up for good.
"""

from __future__ import annotations

import os
import socket
import time

from dosirak.engine.runtime import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dosirak.engine.runtime.container import Process
    from dosirak.engine.runtime.jsonlog import JsonLog

_CHUNK = 65536
# A client may lag this many bytes before reading from the process pauses, and stall this many seconds before it goes.
_BACKLOG = 1 << 20
_PATIENCE = 10.0
# So much input waits for the process before reading from clients pauses.
_STDIN_LIMIT = 65536

_NAMES = {1: "stdout", 2: "stderr"}


class Client:
    """One attached client: what it wants (1 stdout, 2 stderr), whether its input goes to the process."""

    __slots__ = ("_matched", "backlog", "detach_keys", "framed", "moved", "reading", "sock", "stdin", "wants")

    def __init__(self, sock: socket.socket, *, stdin: bool, wants: set[int], framed: bool, detach_keys: bytes) -> None:
        sock.setblocking(False)
        self.sock, self.stdin, self.wants, self.framed, self.detach_keys = sock, stdin, wants, framed, detach_keys
        self.reading = True  # until it half-closes
        self.backlog = bytearray()
        self.moved = time.monotonic()
        self._matched = 0

    def put(self, stream: int, data: bytes) -> bool:
        """Send a piece of output, keeping what the socket does not take. False: the client is gone."""
        if stream not in self.wants:
            return True
        if self.framed:
            data = bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        if self.backlog:
            self.backlog += data
            return True
        return self._send(data)

    def send_backlog(self) -> bool:
        """Send on. False: the client is gone."""
        data = bytes(self.backlog)
        self.backlog.clear()
        return self._send(data)

    def _send(self, data: bytes) -> bool:
        sent = 0
        try:
            sent = self.sock.send(data)
            self.moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.backlog += data[sent:]
        return True

    def finish(self) -> None:
        """Send what is left, waiting for the client as long as it moves, and close."""
        try:
            self.sock.settimeout(_PATIENCE)
            self.sock.sendall(self.backlog)
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def cut_detach(self, data: bytes) -> tuple[bytes, bool]:
        """Look for the detach keys in what was typed: (what to pass on, whether the client detaches)."""
        keys = self.detach_keys
        if not keys or (not self._matched and keys[0] not in data):
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(passed), True
                continue
            passed += keys[: self._matched]
            self._matched = 1 if byte == keys[0] else 0
            if not self._matched:
                passed.append(byte)
        return bytes(passed), False


class Pump:
    """The streams of one process at a time: output to log and clients, clients' input to it."""

    def __init__(self, loop: loops.Loop, log: JsonLog | None, on_log: Callable[[], None]) -> None:
        self._loop, self._log, self._on_log = loop, log, on_log
        self._clients: dict[int, Client] = {}
        self._outputs: dict[int, int] = {}
        self._stdin = -1
        self._typed = bytearray()
        self._stdin_ended = self._throttled = False
        self.stdin_once = False
        self.terminal = -1
        self._paused = False

    def start(self, process: Process) -> None:
        """Serve a newly started process."""
        self.terminal = process.terminal
        self._stdin = process.stdin if process.terminal < 0 else process.terminal
        for fd, stream in ((process.stdout, 1), (process.stderr, 2), (process.terminal, 1)):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs[fd] = stream
        if self._stdin >= 0:
            os.set_blocking(self._stdin, False)
        self._watch_outputs()
        self._write_stdin()

    def attach(self, client: Client, initial: bytes) -> None:
        """Add a client; `initial` is input of it that was read already."""
        self._clients[client.sock.fileno()] = client
        self._watch_client(client)
        if initial:
            self._take_input(client, initial)

    def end(self) -> None:
        """The process has ended: take what its pipes still hold, flush the log. Clients are let go by `close`."""
        self._paused = False
        for fd in list(self._outputs):
            while self._read(fd):
                pass
            self._close_output(fd)
        if self.terminal < 0 and self._stdin >= 0:
            self._close_stdin()
        self._stdin = self.terminal = -1
        self._typed.clear()
        self._stdin_ended = False
        if self._log:
            self._log.flush()
            self._on_log()

    def close(self) -> None:
        """Let the clients go, each with all its output."""
        for client in list(self._clients.values()):
            self._loop.forget(client.sock.fileno())
            client.finish()
        self._clients.clear()

    # Output

    def _watch_outputs(self) -> None:
        for fd in self._outputs:
            self._loop.watch(fd, loops.IN, self._reader(fd))

    def _reader(self, fd: int) -> Callable[[int], None]:
        return lambda _events: self._output_ready(fd)

    def _output_ready(self, fd: int) -> None:
        if self._read(fd) is None:
            self._close_output(fd)
        elif any(len(client.backlog) > _BACKLOG for client in self._clients.values()):
            self._pause()

    def _read(self, fd: int) -> bool | None:
        """One read, handed on. True: there may be more; False: not now; None: the stream has ended."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the last slave of the pty is closed
        if not data:
            return None
        stream = self._outputs[fd]
        if self._log:
            self._log.write(_NAMES[stream], data)
            self._on_log()
        for client in list(self._clients.values()):
            if not client.put(stream, data):
                self._drop(client)
            elif client.backlog:
                self._watch_client(client)
        return True

    def _close_output(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._outputs[fd]
        if fd == self.terminal:
            self.terminal = self._stdin = -1
        os.close(fd)

    def _pause(self) -> None:
        self._paused = True
        for fd in self._outputs:
            self._loop.forget(fd)
        self._loop.after(1.0, self._check_stalled)

    def _check_stalled(self) -> None:
        if not self._paused:
            return
        now = time.monotonic()
        for client in list(self._clients.values()):
            if client.backlog and now - client.moved > _PATIENCE:
                self._drop(client)
        self._resume()
        if self._paused:
            self._loop.after(1.0, self._check_stalled)

    def _resume(self) -> None:
        if self._paused and all(len(client.backlog) <= _BACKLOG for client in self._clients.values()):
            self._paused = False
            self._watch_outputs()

    # Clients

    def _watch_client(self, client: Client) -> None:
        events = loops.GONE
        if client.backlog:
            events |= loops.OUT
        if client.reading and len(self._typed) < _STDIN_LIMIT:
            events |= loops.IN
        self._loop.watch(client.sock.fileno(), events, lambda events: self._client_ready(client, events))

    def _client_ready(self, client: Client, events: int) -> None:
        if events & loops.OUT and not client.send_backlog():
            self._drop(client)
            return
        if events & loops.IN:
            self._read_client(client)
        elif events & loops.GONE:
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
        self._input_ended(client)
        client.reading = False

    def _take_input(self, client: Client, data: bytes) -> None:
        if not client.stdin:
            return
        detaches = False
        if self.terminal >= 0 or not client.framed:
            data, detaches = client.cut_detach(data)
        self._typed += data
        self._write_stdin()
        if detaches:
            client.stdin = False
            self._drop(client)

    def _input_ended(self, client: Client) -> None:
        if client.stdin and self.stdin_once:
            self._stdin_ended = True
            self._write_stdin()

    def _drop(self, client: Client) -> None:
        fd = client.sock.fileno()
        if self._clients.pop(fd, None) is None:
            return
        self._loop.forget(fd)
        self._input_ended(client)
        client.sock.close()
        self._resume()

    # Input

    def _write_stdin(self) -> None:
        """Write what waits; once all is written and the input has ended, close."""
        if self._stdin < 0:
            return
        try:
            while self._typed:
                written = os.write(self._stdin, self._typed[:_CHUNK])
                del self._typed[:written]
        except BlockingIOError:
            self._wait_for_stdin()
            return
        except OSError:
            self._typed.clear()  # EPIPE: the process has closed its stdin
        if self.terminal < 0:
            self._loop.forget(self._stdin)
            if self._stdin_ended:
                self._close_stdin()
        elif self._stdin == self.terminal and not self._paused:
            self._watch_outputs()
        if self._throttled:
            self._throttled = False
            for client in self._clients.values():
                self._watch_client(client)

    def _wait_for_stdin(self) -> None:
        self._throttled = True
        events = loops.OUT
        if self._stdin == self.terminal:
            events |= loops.IN
        self._loop.watch(self._stdin, events, self._stdin_ready)

    def _stdin_ready(self, events: int) -> None:
        if self._stdin == self.terminal and events & (loops.IN | loops.GONE):
            self._output_ready(self._stdin)
        if events & (loops.OUT | loops.GONE):
            self._write_stdin()

    def _close_stdin(self) -> None:
        self._loop.forget(self._stdin)
        os.close(self._stdin)
        self._stdin = -1
