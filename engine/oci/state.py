"""A container's state: a directory of its own below --root, which is there from `create` to `delete`.

<root>/<id>/state.json    what later commands need: first without a process, so that a `create` that is killed leaves
                          something to be deleted, then with it
<root>/<id>/config.json   what `exec` needs besides
<root>/<id>/tracing       an exec gave somebody in there the right to trace (`sealing`)
<root>/<id>/exec.fifo     a FIFO its process waits at for `start`; gone once it was started
"""

from __future__ import annotations

import os

from dosirak.engine.oci import documents
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "1.2.0"
"""The runtime-spec's version that is implemented."""

_FILE, _CONFIG, _FIFO = "state.json", "config.json", "exec.fifo"
TRACING = "tracing"
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class State:
    """One container's, as `document` has it: id, pid, startTime, bundle, rootfs, created, owner, annotations, cgroup,
    hooks."""

    def __init__(self, directory: str, document: dict[str, Any]) -> None:
        self.directory, self.document = directory, document

    @property
    def id(self) -> str:
        """The container's name."""
        name: str = self.document["id"]
        return name

    @property
    def pid(self) -> int:
        """Of its first process."""
        number: int = self.document["pid"]
        return number

    def config(self) -> dict[str, Any]:
        """config.json, as it was at `create`."""
        with open(f"{self.directory}/{_CONFIG}", "rb") as file:
            config: dict[str, Any] = documents.loads(file.read())
        return config

    @property
    def cgroup(self) -> str:
        """Its control group's path below the hierarchy's root."""
        path: str = self.document["cgroup"]
        return path

    @property
    def fifo(self) -> str:
        """Where its process waits for `start`."""
        return f"{self.directory}/{_FIFO}"

    def status(self) -> str:
        """created, running, paused or stopped; creating before it has a process."""
        if not self.pid:
            return "creating"
        if start_time(self.pid) != self.document["startTime"]:
            return "stopped"
        if os.path.exists(self.fifo):
            return "created"
        return "paused" if cgroups.frozen(self.cgroup) else "running"

    def public(self, status: str = "") -> dict[str, Any]:
        """The state as hooks and callers see it (runtime.md, "State")."""
        status = status or self.status()
        shown = {"ociVersion": VERSION, "id": self.id, "pid": 0 if status == "stopped" else self.pid, "status": status}
        shown |= {name: self.document[name] for name in ("bundle", "rootfs", "created")}
        if self.document["annotations"]:
            shown["annotations"] = self.document["annotations"]
        return shown | {"owner": self.document["owner"]}

    def open_process(self) -> int:
        """A pidfd of its first process. Raises Failure: it is not running."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (OSError, ValueError):
            raise Failure("container not running") from None
        if start_time(self.pid) != self.document["startTime"]:  # after it was opened: the number may be another's
            os.close(pidfd)
            raise Failure("container not running")
        return pidfd

    def save(self) -> None:
        """Write it, whole or not at all."""
        self._write(_FILE, self.document)

    def save_config(self, config: dict[str, Any]) -> None:
        """Keep config.json."""
        self._write(_CONFIG, config)

    def _write(self, name: str, document: dict[str, Any]) -> None:
        beside = f"{self.directory}/.{name}"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = documents.dumps(document).encode()
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        os.rename(beside, f"{self.directory}/{name}")

    def make_fifo(self) -> int:
        """Both ends in one descriptor: it never tells of an end, whoever starts comes and goes."""
        os.mkfifo(self.fifo, 0o600)
        return os.open(self.fifo, os.O_RDWR | os.O_CLOEXEC)

    def remove(self) -> None:
        """The directory last, and the file before it last of all: until then `delete` may come again."""
        for name in (_FIFO, TRACING, f".{_CONFIG}", _CONFIG, f".{_FILE}", _FILE):
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                continue
        os.rmdir(self.directory)


def directory_of(root: str, name: str) -> str:
    """Raises Failure for a name that is no container's."""
    if not name or name in (".", "..") or not _ALLOWED.issuperset(name) or len(name) > 1024:
        raise Failure(f"invalid container ID format: empty, too long or an invalid character in container ID {name!r}")
    return f"{root}/{name}"


def make(root: str, name: str) -> str:
    """A new container's directory. Raises Failure where there is one of that name."""
    path = directory_of(root, name)
    os.makedirs(root, mode=0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        raise Failure("container with given ID already exists") from None
    return path


def load(root: str, name: str) -> State:
    """Raises Failure: there is no such container."""
    path = directory_of(root, name)
    try:
        with open(f"{path}/{_FILE}", "rb", buffering=0) as file:
            return State(path, documents.loads(file.read()))
    except (FileNotFoundError, NotADirectoryError):
        raise Failure("container does not exist") from None


def names(root: str) -> list[str]:
    """Those of all containers."""
    try:
        found = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(filter(_ALLOWED.issuperset, found))


def matching(root: str, expression: str) -> list[str]:
    """The names that a regular expression finds. Raises Failure."""
    import re

    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise Failure(f"invalid regular expression {expression!r}: {error}") from error
    return [name for name in names(root) if pattern.search(name)]


def user_name(uid: int) -> str:
    """As passwd has it, "#N" where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc_pid_stat(5)); 0: there is none, or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def sweep(root: str, name: str) -> None:
    """Remove what a `create` that was killed has left; where there is nothing, that is fine. Raises Failure."""
    path = directory_of(root, name)
    if os.path.isdir(path):
        State(path, {}).remove()
