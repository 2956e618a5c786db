"""The `options` of a mount in config.json, sorted into what the mount calls take (mount(8), runtime-spec)."""

from __future__ import annotations

from dosirak.engine.runtime import syscalls as sys

# option → (attributes to set, attributes to clear) of mount_setattr(2)
_ATTRIBUTES = {
    "ro": (sys.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, sys.MOUNT_ATTR_RDONLY),
    "nosuid": (sys.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, sys.MOUNT_ATTR_NOSUID),
    "nodev": (sys.MOUNT_ATTR_NODEV, 0),
    "dev": (0, sys.MOUNT_ATTR_NODEV),
    "noexec": (sys.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, sys.MOUNT_ATTR_NOEXEC),
    "noatime": (sys.MOUNT_ATTR_NOATIME, sys.MOUNT_ATTR__ATIME),
    "relatime": (sys.MOUNT_ATTR_RELATIME, sys.MOUNT_ATTR__ATIME),
    "strictatime": (sys.MOUNT_ATTR_STRICTATIME, sys.MOUNT_ATTR__ATIME),
    "nodiratime": (sys.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, sys.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (sys.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, sys.MOUNT_ATTR_NOSYMFOLLOW),
}
# runtime-spec 1.1: "rro" and friends apply to all mounts below as well
_RECURSIVE = {f"r{name}": value for name, value in _ATTRIBUTES.items() if name != "relatime"}

_PROPAGATION = {
    "shared": (sys.MS_SHARED, False),
    "slave": (sys.MS_SLAVE, False),
    "private": (sys.MS_PRIVATE, False),
    "unbindable": (sys.MS_UNBINDABLE, False),
    "rshared": (sys.MS_SHARED, True),
    "rslave": (sys.MS_SLAVE, True),
    "rprivate": (sys.MS_PRIVATE, True),
    "runbindable": (sys.MS_UNBINDABLE, True),
}

_IGNORED = frozenset(("defaults", "async", "auto", "noauto", "nouser", "nofail", "_netdev", "loud", "silent"))

# runtime-spec 1.2: owners are read by the user namespace's maps, those of the mounts below as well with "ridmap".
_IDMAP = {"idmap": False, "ridmap": True}

NAMES = frozenset((*_ATTRIBUTES, *_RECURSIVE, *_PROPAGATION, *_IGNORED, *_IDMAP, "bind", "rbind", "tmpcopyup"))
"""The options that are not handed to the file system."""


class MountOptions:
    """Parsed options: `set`/`clear` attributes, the same for the whole tree, propagation, bind, and the rest.

    `idmap`: whether owners are mapped, and whether those of the mounts below are too; `copy_up`: what is covered is to
    be seen all the same.
    """

    __slots__ = (
        "bind",
        "clear",
        "copy_up",
        "data",
        "idmap",
        "propagation",
        "recursive",
        "set",
        "tree_clear",
        "tree_set",
    )

    def __init__(self, options: list[str]) -> None:
        self.set = self.clear = self.tree_set = self.tree_clear = 0
        self.propagation: tuple[int, bool] = (0, False)
        self.bind = self.recursive = False
        self.idmap: tuple[bool, bool] = (False, False)
        self.copy_up = False
        self.data: list[tuple[str, str | None]] = []
        for option in options:
            self._take(option)

    def _take(self, option: str) -> None:
        if option in _ATTRIBUTES:
            on, off = _ATTRIBUTES[option]
            self.set, self.clear = _apply(self.set, self.clear, on, off)
        elif option in _PROPAGATION:
            self.propagation = _PROPAGATION[option]
        elif option in ("bind", "rbind"):
            self.bind, self.recursive = True, option == "rbind"
        elif option in _RECURSIVE:
            on, off = _RECURSIVE[option]
            self.tree_set, self.tree_clear = _apply(self.tree_set, self.tree_clear, on, off)
        elif option == "tmpcopyup":
            self.copy_up = True
        elif option in _IDMAP:
            self.idmap = True, _IDMAP[option]
        elif option not in _IGNORED:
            key, equals, value = option.partition("=")
            self.data.append((key, value if equals else None))


def _apply(set_: int, clear: int, on: int, off: int) -> tuple[int, int]:
    """A later option overrides an earlier one. An access time mode is set and all of them cleared: the kernel takes
    MOUNT_ATTR__ATIME as a whole (mount_setattr(2))."""
    return (set_ & ~off) | on, (clear & ~on) | off
