"""Reading and writing the one-value files of a cgroup, and removing its directory."""

from __future__ import annotations

import errno
import os
import time

from dosirak.engine.runtime import signals as signal

PARENT = "dosirak"
"""The cgroup that holds those of all containers, of every engine of this host, that ask for no other parent; unless the
host has handed an engine one of its own (`cgroups.settle`)."""


def write(directory: str, name: str, value: object) -> None:
    """Write one value. Raises OSError naming the file."""
    fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, f"{os.strerror(error.errno or 0)} (value {value})", f"{directory}/{name}") from error
    finally:
        os.close(fd)


def read(directory: str, name: str) -> str:
    """A file's whole text. Raises OSError."""
    return read_bytes(directory, name).decode()


def read_bytes(directory: str, name: str) -> bytes:
    """All of a file. Raises OSError."""
    fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def field(directory: str, name: str, key: str) -> int:
    """The number beside `key` in a flat-keyed file ("oom_kill 3"); 0 when the key or file is missing."""
    try:
        text = read(directory, name)
    except OSError:
        return 0
    return number_beside(text, key)


def number_beside(text: str, key: str) -> int:
    """The number beside `key` in a flat-keyed file's text; 0 when it is missing."""
    return next((int(words[1]) for line in text.splitlines() if (words := line.split()) and words[0] == key), 0)


def rdma(device: str, limits: dict[str, int]) -> str:
    """A line of rdma.max (Documentation/admin-guide/cgroup-v1/rdma.rst; the same on v2) from `linux.resources.rdma`."""
    names = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
    return " ".join([device, *(f"{name}={limits[key]}" for key, name in names if limits.get(key) is not None)])


def make(directory: str) -> None:
    """mkdir, with the parents; an existing one is fine."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make(os.path.dirname(directory))
        make(directory)


def children(directory: str) -> list[str]:
    """The names of the groups right below."""
    return [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]


def remove_empty(directory: str) -> None:
    """rmdir a cgroup with nothing in it; any other is left alone."""
    try:
        os.rmdir(directory)
    except OSError:
        pass


def pids(directory: str) -> list[int]:
    """The processes of a cgroup and of those below it."""
    found: list[int] = []
    for folder, _, _ in os.walk(directory):
        try:
            found += [int(pid) for pid in read(folder, "cgroup.procs").split()]
        except OSError:
            continue
    return found


def kill_all(directory: str) -> None:
    """SIGKILL what is inside, again until nothing new was forked in between."""
    for _ in range(100):
        inside = pids(directory)
        if not inside:
            return
        for pid in inside:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)


def remove(directory: str) -> None:
    """rmdir a cgroup with those below it; EBUSY is retried briefly (exiting processes still count). Raises OSError."""
    deadline = time.monotonic() + 2.0
    while True:
        try:
            os.rmdir(directory)
            return
        except (FileNotFoundError, NotADirectoryError):
            return  # gone, or never made: a file of the parent's has that name
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
        for name in children(directory):
            remove(f"{directory}/{name}")
        kill_all(directory)
        time.sleep(0.002)
