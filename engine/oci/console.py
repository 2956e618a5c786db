"""A terminal's master: handed to whoever listens at --console-socket, or served by this command itself."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import struct
import termios

from dosirak.engine.oci import staying
from dosirak.engine.runtime import devices
from dosirak.engine.runtime import signals as signal
from dosirak.engine.supervision import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hand_over(master: int, path: str, name: bytes = b"/dev/ptmx") -> None:
    """Send it, as runc does: its name, and the descriptor beside it. Raises OSError."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
        wire.send(sock, name, [master])
    finally:
        sock.close()


def serve(pid: int, master: int) -> int:
    """Stay until a child has ended: pass signals on, and copy between its terminal and our streams. Its exit status,
    128 + n after signal n."""
    pidfd = os.pidfd_open(pid)
    woken_read, woken_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(woken_write, warn_on_full_buffer=False)
    for kind in staying.PASSED:
        signal.signal(kind, lambda *_: None)
    before = _make_raw()
    _copy_size(master)
    poll = select.poll()
    for fd in (pidfd, woken_read, 0, master):
        poll.register(fd, select.POLLIN)
    try:
        ended = False
        while not ended:
            for fd, _ in poll.poll():
                if fd == woken_read:
                    for number in os.read(woken_read, 64):
                        _pass_on(number, pidfd, master)
                elif fd == pidfd:
                    ended = True
                elif not _copy(fd, master if fd == 0 else 1):
                    poll.unregister(fd)
        status = staying.status_of(os.waitpid(pid, 0)[1])
        while select.select([master], [], [], 0)[0] and _copy(master, 1):
            pass
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSANOW, before)
    return status


def _pass_on(number: int, pidfd: int, master: int) -> None:
    if number == signal.SIGWINCH:
        _copy_size(master)
        return
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 65536)
    except OSError:
        return False  # EIO: nobody has the other side of the terminal open any more (ioctl_tty(2))
    if not data and source == 0:
        return False
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return bool(data)


def _copy_size(master: int) -> None:
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return  # standard input is no terminal
    devices.set_size(master, rows, columns)


def leave_newlines(master: int) -> None:
    """No carriage return before each line's end, as in runc: our own terminal makes one, and a pipe needs none."""
    settings = termios.tcgetattr(master)
    settings[1] &= ~termios.ONLCR
    termios.tcsetattr(master, termios.TCSANOW, settings)


def _make_raw() -> list[Any] | None:
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return None
    raw = list(before)
    raw[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    termios.tcsetattr(0, termios.TCSANOW, raw)
    return before
