"""The container's root: its mounts, made by descriptors only, and the pivot into it.

Every target is opened inside the root by openat2 and used as a descriptor from then on, so nothing that an image or
a neighbour sharing a volume exchanges meanwhile can lead a mount outside (the class of CVE-2021-30465,
CVE-2025-31133 and a dozen more). Runs in the container's own mount namespace, before anything of the image runs.
"""

from __future__ import annotations

import errno
import os
import stat

from dosirak.engine.runtime import cgroupmounts, filesystems, idmapped, inroot, overlay, places, privilege
from dosirak.engine.runtime import syscalls as sys
from dosirak.engine.runtime.mountopts import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/magic.h, linux/proc_fs.h
_PROC_SUPER_MAGIC = 0x9FA0
_PROC_ROOT_INO = 1

SUBPATH = "dosirak.subpath"
"""A bind mount's own key: the part of its source that is mounted."""
LAYERS = "dosirak.layers"
"""A bind mount's own key: an image's layers, the topmost first, stand in for its source."""

# What may cover a file of the container's /proc: lxcfs' and CRIU's, as in runc (libcontainer/rootfs_linux.go).
_COVERED_IN_PROC = frozenset(
    (
        *("/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime"),
        *("/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid"),
    )
)

# File systems that show a namespace: where the host's are.
_HOSTS_OWN = {"sysfs": "/sys", "proc": "/proc", "mqueue": "/dev/mqueue"}

_DIR = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_root(spec: dict[str, Any], bundle: str, made: int = -1) -> int:
    """Mount the root filesystem at `root.path` and return the mount's descriptor.

    A first mount of type overlay at "/" is the root itself; else `root.path` is bound onto itself, since
    pivot_root(2) needs a mount point. Parameters: `bundle`: the engine's own path of the bundle; `made`: the root as
    `open_layers` gave it, or -1.
    """
    if made >= 0:
        # On the old root: the root of a user namespace may not walk to the bundle, and no path leads there from here.
        place = os.open("/", _DIR)
        sys.move_mount(made, place)
        os.close(place)
        return made
    # By path: a descriptor from before the clone lies in the host's mount namespace, where we may not mount.
    place = os.open(os.path.join(bundle, spec["root"]["path"]), _DIR)
    try:
        if (overlay_mount := _root_overlay(spec)) is not None:
            tree = _open_overlay(overlay_mount.get("options") or [])
        else:
            tree = sys.open_tree(place, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH | sys.AT_RECURSIVE)
        sys.move_mount(tree, place)
        return tree
    finally:
        os.close(place)


def open_layers(spec: dict[str, Any], user: int) -> int:
    """The root as a detached mount where it is an overlay, else -1. Raises OSError.

    In the host's user namespace, before that of the container (`user`) is entered: there it could be mounted as well,
    but its whiteouts and opaque directories would be of another kind, which no other container could read.
    """
    found = _root_overlay(spec)
    return _open_overlay(found.get("options") or [], user, spec.get("linux") or {}) if found is not None else -1


def _root_overlay(spec: dict[str, Any]) -> dict[str, Any] | None:
    mounts = spec.get("mounts") or ()
    first: dict[str, Any] = mounts[0] if mounts else {}
    return first if first.get("destination") == "/" and first.get("type") == "overlay" else None


def _open_overlay(options: list[str], user: int = -1, linux: dict[str, Any] | None = None) -> int:
    lower = [option.removeprefix("lowerdir+=") for option in options if option.startswith("lowerdir+=")]
    for option in options:
        if option.startswith("lowerdir="):
            lower += option.removeprefix("lowerdir=").split(":")
    named = dict(option.partition("=")[::2] for option in options)
    layers = lower, named.get("upperdir"), named.get("workdir")
    if "idmap" in named:
        return idmapped.open_overlay(*layers, user=user, owner=_root_of(linux or {}))
    return overlay.open_overlay(*layers)


def _root_of(linux: dict[str, Any]) -> tuple[int, int]:
    """The ids that a container's root has outside."""
    found = [
        next((entry["hostID"] for entry in linux.get(kind) or () if entry["containerID"] == 0), 0)
        for kind in ("uidMappings", "gidMappings")
    ]
    return found[0], found[1]


def open_binds(spec: dict[str, Any], user: int = -1) -> list[int]:
    """Detached clones of what config.json's bind mounts show, in their order. Raises OSError naming the destination.

    Called by the monitor, in the host's mount namespace as it is now: the child's may be older (a spare's), and its
    user may not be allowed to walk the host's paths. Parameters: `user`: the container's user namespace, or -1.
    """
    found: list[int] = []
    for entry in spec.get("mounts") or ():
        options = MountOptions(entry.get("options") or [])
        if _is_bind(entry, options):
            try:
                found.append(_clone_source(entry, options, user))
                if (options.idmap[0] or entry.get("uidMappings")) and not entry.get(LAYERS):
                    idmapped.apply(found[-1], user, entry, recursive=options.idmap[1])
            except OSError as error:
                raise _naming(entry, error) from error
    return found


def _clone_source(entry: dict[str, Any], options: MountOptions, user: int) -> int:
    """A subpath is looked up inside the source, whatever links a container has left there (CVE-2017-1002101)."""
    if not entry.get(SUBPATH) and not entry.get(LAYERS):
        return places.clone_tree(entry["source"], options)
    if entry.get(LAYERS):
        if options.idmap[0]:
            whole = idmapped.open_overlay(entry[LAYERS], user=user)
        else:
            whole = overlay.open_overlay(entry[LAYERS])
        if not entry.get(SUBPATH):
            sys.mount_setattr(whole, set_=options.set | sys.MOUNT_ATTR_RDONLY, propagation=sys.MS_PRIVATE)
            return whole
    else:
        whole = os.open(entry["source"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = _open_part(whole, entry)
        try:
            return places.clone_tree(f"/proc/self/fd/{part}", options)
        finally:
            os.close(part)
    finally:
        os.close(whole)


def _open_part(whole: int, entry: dict[str, Any]) -> int:
    """Raises OSError with Docker's words; a link that leads out of the source is not followed to anywhere."""
    source, part = entry.get("source", ""), entry[SUBPATH]
    try:
        return sys.openat2(
            whole, part, os.O_PATH | os.O_CLOEXEC, resolve=sys.RESOLVE_BENEATH | sys.RESOLVE_NO_MAGICLINKS
        )
    except OSError as error:
        reason = f"cannot access path {source}/{part}: {os.strerror(error.errno or 0).lower()}"
        if error.errno == errno.EXDEV:
            reason = f"path concatenation escapes the base directory, base: {source}, subpath: {part}"
        raise OSError(error.errno, reason) from None


def _is_bind(entry: dict[str, Any], options: MountOptions) -> bool:
    return (entry.get("type") or "bind") == "bind" or options.bind


def _naming(entry: dict[str, Any], error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"mounting {entry['destination']!r}: {reason}", entry.get("source"))


def mount_all(
    spec: dict[str, Any], root_fd: int, cgroup: str | None, ready: filesystems.Ready, binds: list[int]
) -> None:
    """Make the mounts of config.json, in their order, with what is `ready`; `binds` as `open_binds` gave them.

    Raises OSError naming the destination.
    """
    for entry in spec.get("mounts") or ():
        if entry["destination"] == "/" and entry.get("type") == "overlay":
            continue
        options = MountOptions(entry.get("options") or [])
        try:
            if entry.get("type") == "cgroup":
                kinds = [space["type"] for space in (spec.get("linux") or {}).get("namespaces") or ()]
                cgroupmounts.mount(entry["destination"], root_fd, options, cgroup, ready, own="cgroup" in kinds)
            elif _is_bind(entry, options):
                _attach(entry["destination"], root_fd, binds.pop(0))
            else:
                _mount_filesystem(entry, root_fd, options, ready)
        except OSError as error:
            raise _naming(entry, error) from error


def _attach(destination: str, root_fd: int, tree: int) -> None:
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    place = places.open_place(root_fd, destination, is_directory)
    try:
        if stat.S_ISDIR(os.fstat(place).st_mode) != is_directory:
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _keep_proc(destination, place, tree)
        sys.move_mount(tree, place)
    finally:
        os.close(place)
        os.close(tree)


def _mount_filesystem(entry: dict[str, Any], root_fd: int, options: MountOptions, ready: filesystems.Ready) -> None:
    try:
        tree = ready.take(entry)
    except PermissionError:
        if not privilege.here().confined or entry["type"] not in _HOSTS_OWN:
            raise
        # In the host's namespace of that kind, which a user namespace does not own: what the host has mounted.
        options.recursive, options.tree_set = True, options.tree_set | options.set
        try:
            tree = places.clone_tree(_HOSTS_OWN[entry["type"]], options)
        except FileNotFoundError:
            return  # not every host has message queues mounted
    try:
        covers = entry["type"] == "tmpfs" and places.is_there(root_fd, entry["destination"])
        place = places.open_place(root_fd, entry["destination"], True)
        try:
            if covers:
                _keep_mode(tree, place, options)
            if covers and options.copy_up:
                _copy_up(tree, place, options)
            _keep_proc(entry["destination"], place, tree)
            sys.move_mount(tree, place)
        finally:
            os.close(place)
        if options.propagation[0]:
            sys.mount_setattr(tree, propagation=options.propagation[0], recursive=options.propagation[1])
    finally:
        os.close(tree)


def _keep_proc(destination: str, place: int, tree: int) -> None:
    """Nothing covers what the kernel says in /proc (CVE-2019-16884: a volume of the image's), nor by a link there.

    Another procfs may take its place as a whole. Raises OSError.
    """
    path = os.path.normpath(destination)
    inside = sys.fs_type(place) == _PROC_SUPER_MAGIC
    if path == "/proc" or (inside and os.fstat(place).st_ino == _PROC_ROOT_INO):
        refused = sys.fs_type(tree) != _PROC_SUPER_MAGIC
    else:
        refused = inside and path not in _COVERED_IN_PROC
    if refused:
        raise OSError(errno.EPERM, "cannot be mounted because it is inside /proc")


def _keep_mode(tree: int, place: int, options: MountOptions) -> None:
    """A tmpfs without a mode of its own takes that of the directory it covers, as runc does; over none it has 1777."""
    if not any(key == "mode" for key, _ in options.data):
        found = os.fstat(place)
        readonly = options.set & sys.MOUNT_ATTR_RDONLY
        if readonly:
            sys.mount_setattr(tree, clear=readonly)
        os.chmod(".", stat.S_IMODE(found.st_mode), dir_fd=tree)
        os.chown(".", found.st_uid, found.st_gid, dir_fd=tree)
        if readonly:
            sys.mount_setattr(tree, set_=readonly)


def _copy_up(tree: int, place: int, options: MountOptions) -> None:
    from dosirak.engine.runtime import copyup  # done by who knows of it already, in the host's root (`oci.lifecycle`)

    readonly = options.set & sys.MOUNT_ATTR_RDONLY
    if readonly:
        sys.mount_setattr(tree, clear=readonly)
    copyup.copy(place, tree)
    if readonly:
        sys.mount_setattr(tree, set_=readonly)


def check_proc(root_fd: int) -> int:
    """Open the container's /proc after making sure that it is procfs, mounted at its root.

    Raises OSError. Returns a descriptor for writes that must not be led astray (sysctls).
    """
    fd = inroot.open_in_root(root_fd, "/proc", os.O_PATH | os.O_DIRECTORY, resolve=sys.RESOLVE_NO_SYMLINKS)
    if sys.fs_type(fd) != _PROC_SUPER_MAGIC or os.fstat(fd).st_ino != _PROC_ROOT_INO:
        os.close(fd)
        raise OSError(errno.EINVAL, "is not a procfs mount", "/proc")
    return fd


def write_sysctls(sysctls: dict[str, str], proc_fd: int) -> None:
    """Set `linux.sysctl` of the new namespaces. Raises OSError naming the sysctl."""
    for name, value in sysctls.items():
        resolve = sys.RESOLVE_BENEATH | sys.RESOLVE_NO_XDEV | sys.RESOLVE_NO_SYMLINKS
        try:
            fd = sys.openat2(proc_fd, "sys/" + name.replace(".", "/"), os.O_WRONLY, resolve=resolve)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise OSError(error.errno, f"sysctl {name}={value}: {os.strerror(error.errno or 0)}") from error


def enter(root_fd: int, propagation: int, *, readonly: bool) -> None:
    """pivot_root into the root and let go of the old one; chroot could be escaped by CAP_SYS_CHROOT."""
    os.fchdir(root_fd)
    sys.pivot_root(".", ".")
    # pivot_root(2): the old root is now on top at "."; detach it, and "/" is the new one.
    sys.umount2(".", sys.MNT_DETACH)
    os.chdir("/")
    if propagation:
        sys.mount(None, "/", None, propagation)
    if readonly:
        sys.mount_setattr(sys.AT_FDCWD, b"/", set_=sys.MOUNT_ATTR_RDONLY)
