"""What a client of a logged container has not taken yet and memory should not hold: a nameless file beside the log."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

# Bytes that one client may be behind before the container's writes wait for it.
LIMIT = 1 << 30
_PIECE = 1 << 17
# Parts of a file system that stay free: no reader may fill the disk.
_FREE = 20


class Spill:
    """Bytes in the order they came; the file is used in a circle."""

    __slots__ = ("_fd", "_taken", "_written")

    def __init__(self, folder: str) -> None:
        """Raises OSError."""
        path = os.path.join(folder, f"spill-{os.getpid()}")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.unlink(path)
        self._taken = self._written = 0

    def __bool__(self) -> bool:
        return self._taken < self._written

    def write(self, data: bytes | bytearray) -> int:
        """Keep some of `data`: how many bytes, 0 when no more may be kept. Raises OSError (disk full)."""
        disk = os.fstatvfs(self._fd)
        at = self._written % LIMIT
        room = min(LIMIT - (self._written - self._taken), LIMIT - at)
        if not room or disk.f_bavail < disk.f_blocks // _FREE:
            return 0
        written = os.pwrite(self._fd, memoryview(data)[:room], at)
        self._written += written
        return written

    def send(self, sock: socket.socket) -> None:
        """Send on. Raises OSError, BlockingIOError when the socket takes nothing now."""
        at = self._taken % LIMIT
        # Not sendfile(2): what lies in the socket would be the file's own pages, which are written to again.
        self._taken += sock.send(os.pread(self._fd, min(_PIECE, self._written - self._taken, LIMIT - at), at))

    def close(self) -> None:
        """Give the space back."""
        os.close(self._fd)
