"""Being told when the kernel kills in a cgroup for want of memory. For the service: no monitor imports this."""

from __future__ import annotations

import os
import select

from dosirak.engine.runtime import cgroups
from dosirak.engine.runtime.cgroups import files, v1


class Events:
    """One cgroup's events of this kind. Wait for `mask` on `fd` by epoll(7), then ask `happened`.

    `kills`: how many there had been when this was made.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError when there is no such cgroup, or it can't tell."""
        backend, self._path = cgroups.backend(), path
        self._v1 = isinstance(backend, v1.Hierarchies)
        if isinstance(backend, v1.Hierarchies):
            self._directory = f"{backend.mounts.get('memory', '')}/{path}"
            self.fd, self.mask = _eventfd(self._directory), select.EPOLLIN
        else:
            self._directory = f"{backend.root}/{path}"
            # "The file has changed since it was last read" is a priority event (kernfs_generic_poll).
            self.fd = os.open(f"{self._directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self.mask = select.EPOLLPRI
        self.kills = self._seen = self._count()

    def happened(self) -> bool:
        """Whether something was killed since this was last asked, or on v1 (where the event comes first) is about to
        be; with the killer disabled there, whether somebody has begun to wait for memory."""
        if self._v1:
            try:
                os.eventfd_read(self.fd)
            except BlockingIOError:
                return False
            return os.path.isdir(self._directory)  # its removal is an event, too
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def close(self) -> None:
        """Want to know no more."""
        os.close(self.fd)

    def _count(self) -> int:
        if self._v1:
            return cgroups.oom_kills(self._path)
        try:
            text = os.pread(self.fd, 4096, 0).decode()
        except OSError:
            return 0  # it is gone
        return files.number_beside(text, "oom_kill")


def _eventfd(directory: str) -> int:
    """Documentation/admin-guide/cgroup-v1/memory.rst, 10 "OOM Control"."""
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            files.write(directory, "cgroup.event_control", f"{fd} {control}")
        finally:
            os.close(control)
    except OSError:
        os.close(fd)
        raise
    return fd
