"""/dev/shm that several containers share: a tmpfs mounted in the folder of the container that offers it.

Private containers (the default) get a tmpfs of their own inside and need nothing here.
"""

from __future__ import annotations

import os
from pathlib import Path

from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.errors import HostLimit, InvalidRequest
from dosirak.engine.runtime import syscalls as sys

_NAME = "shm"


def prepare(directory: Path, host: HostConfig, partner: Path | None) -> str:
    """What to bind on /dev/shm; "" for a tmpfs of the container's own.

    Parameters: `directory`: the container's folder; `partner`: the folder of the container whose IPC it joins.
    Raises InvalidRequest if that one does not share, HostLimit.
    """
    if host.ipc_mode == "host":
        return "/dev/shm"
    if partner is not None:
        if not os.path.ismount(partner / _NAME):
            raise InvalidRequest(
                f"container {partner.name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            )
        return str(partner / _NAME)
    if host.ipc_mode != "shareable":
        return ""
    place = directory / _NAME
    try:
        place.mkdir(exist_ok=True)
        if not os.path.ismount(place):
            _mount(place, host.shm_size or 64 << 20)
    except OSError as error:
        raise HostLimit(f"{place}: mounting a shared /dev/shm failed: {error.strerror}") from error
    return str(place)


def _mount(place: Path, size: int) -> None:
    fs = sys.fsopen("tmpfs")
    try:
        sys.fsconfig_string(fs, "source", "shm")
        sys.fsconfig_string(fs, "mode", "1777")
        sys.fsconfig_string(fs, "size", str(size))
        sys.fsconfig_create(fs)
        flags = sys.MOUNT_ATTR_NOSUID | sys.MOUNT_ATTR_NODEV | sys.MOUNT_ATTR_NOEXEC
        tree = sys.fsmount(fs, flags)
    finally:
        os.close(fs)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sys.move_mount(tree, target)
    finally:
        os.close(target)
        os.close(tree)


def release(directory: Path) -> None:
    """Unmount what `prepare` mounted, if it did."""
    place = directory / _NAME
    if place.exists():
        try:
            sys.umount2(str(place), sys.MNT_DETACH)
        except OSError:
            pass  # not mounted
