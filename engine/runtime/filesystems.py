"""New file systems as detached mounts (fsopen(2), kernel 5.2), some of them made before they are needed."""

from __future__ import annotations

import os

from dosirak.engine.runtime import devices, privilege
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# These depend on no namespace of the container that is not there yet, as proc does on its pid and sysfs on its network
# one; mqueue does on its ipc namespace, which may be (`namespaces.get_ready`).
_EARLY = frozenset(("tmpfs", "devpts", "mqueue"))


class Ready:
    """File systems made ahead of time, to be had by an entry of `mounts` that asks for just such a one."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._made: dict[tuple[str, ...], int] = {}
        self._dev: tuple[str, ...] = ()
        self.has_nodes = False
        """Whether a /dev with all its nodes was taken."""
        self.cgroups = -1
        """A detached mount of v1's groups (`cgroupmounts.get_ready`), or -1; its attributes; how many."""
        self.cgroup_options = self.cgroup_count = 0
        for entry in entries:
            # The host's message queues are not for one who is root of a user namespace (`namespaces`).
            if entry["type"] in _EARLY and not (entry["type"] == "mqueue" and privilege.here().confined):
                self._made[_key(entry)] = _make(entry)

    def fill(self, entry: dict[str, Any]) -> None:
        """Make /dev's nodes in the tmpfs of this entry. Raises OSError; there is none made ahead then."""
        dev = self._made.pop(_key(entry))
        host_dev = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            devices.fill(dev, host_dev)
        except OSError:
            os.close(dev)
            raise
        finally:
            os.close(host_dev)
        self._dev = _key(entry)
        self._made[self._dev] = dev

    def forget(self, kind: str) -> None:
        """Those of this type are not to be had."""
        for key in [key for key in self._made if key[0] == kind]:
            os.close(self._made.pop(key))

    def take(self, entry: dict[str, Any]) -> int:
        """A detached mount of the file system that `entry` of config.json describes. Raises OSError."""
        key = _key(entry)
        made = self._made.pop(key, -1)
        self.has_nodes |= made >= 0 and key == self._dev
        return made if made >= 0 else _make(entry)


def _key(entry: dict[str, Any]) -> tuple[str, ...]:
    return (entry["type"], entry.get("source") or entry["type"], *(entry.get("options") or ()))


def _make(entry: dict[str, Any]) -> int:
    return create(entry["type"], MountOptions(entry.get("options") or []), entry.get("source") or entry["type"])


def create(kind: str, options: MountOptions, source: str) -> int:
    """A detached mount of a new file system. Raises OSError with the kernel's explanation."""
    fs = sys.fsopen(kind)
    try:
        sys.fsconfig_string(fs, "source", source)
        for key, value in options.data:
            if key == "newinstance":
                continue  # every devpts mount is one since kernel 4.7
            if kind == "devpts" and key == "gid" and not privilege.here().has(0, int(value or 0)):
                continue
            if value is None:
                sys.fsconfig_flag(fs, key)
            else:
                sys.fsconfig_string(fs, key, value)
        sys.fsconfig_create(fs)
        return sys.fsmount(fs, options.set)
    except OSError as error:
        said = sys.fs_messages(fs)
        raise OSError(error.errno, f"{kind}: {said or os.strerror(error.errno or 0)}") from error
    finally:
        os.close(fs)
