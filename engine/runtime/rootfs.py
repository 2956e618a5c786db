"""The container's root: its mounts, made by descriptors only, and the pivot into it.

Every target is opened inside the root by openat2 and used as a descriptor from then on, so nothing that an image or
a neighbour sharing a volume exchanges meanwhile can lead a mount outside (the class of CVE-2021-30465,
CVE-2025-31133 and a dozen more). Runs in the container's own mount namespace, before anything of the image runs.
"""

from __future__ import annotations

import errno
import os
import stat

from dosirak.engine.runtime import cgroups, filesystems, idmapped, inroot, overlay, privilege
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

# Filesystems whose place must be a real directory of the root, never a symlink of the image (CVE-2019-19921,
# CVE-2026-41579): procfs or /dev landing elsewhere would leave masks and device nodes elsewhere too.
_FIXED_PLACES = frozenset(("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"))


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
        return _clone_tree(entry["source"], options)
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
        part = inroot.open_in_root(whole, entry[SUBPATH], os.O_PATH)
        try:
            return _clone_tree(f"/proc/self/fd/{part}", options)
        finally:
            os.close(part)
    finally:
        os.close(whole)


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
                _mount_cgroup(entry["destination"], root_fd, options, cgroup, ready, own="cgroup" in kinds)
            elif _is_bind(entry, options):
                _attach(entry["destination"], root_fd, binds.pop(0))
            else:
                _mount_filesystem(entry, root_fd, options, ready)
        except OSError as error:
            raise _naming(entry, error) from error


def _attach(destination: str, root_fd: int, tree: int) -> None:
    is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    place = _open_place(root_fd, destination, is_directory)
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
            tree = _clone_tree(_HOSTS_OWN[entry["type"]], options)
        except FileNotFoundError:
            return  # not every host has message queues mounted
    try:
        covers = entry["type"] == "tmpfs" and _is_there(root_fd, entry["destination"])
        place = _open_place(root_fd, entry["destination"], True)
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


def _is_there(root_fd: int, destination: str) -> bool:
    try:
        os.close(inroot.open_in_root(root_fd, destination, os.O_PATH))
    except OSError:
        return False  # what is wrong with it, whoever mounts there will say
    return True


def _open_place(root_fd: int, destination: str, is_directory: bool) -> int:
    if os.path.normpath(destination) not in _FIXED_PLACES:
        make = inroot.make_dirs if is_directory else inroot.make_file
        return make(root_fd, destination)
    try:
        flags = os.O_PATH | os.O_DIRECTORY
        return inroot.open_in_root(root_fd, destination, flags, resolve=sys.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        os.close(inroot.make_dirs(root_fd, destination))
        return inroot.open_in_root(root_fd, destination, flags, resolve=sys.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "must be mounted on ordinary directory", destination) from error
        raise


def _clone_tree(source: str | bytes, options: MountOptions) -> int:
    flags = sys.OPEN_TREE_CLONE | (sys.AT_RECURSIVE if options.recursive else 0)
    tree = sys.open_tree(sys.AT_FDCWD, source, flags)
    # A clone is its source's peer: private towards the host unless the document asks otherwise.
    propagation, deep = options.propagation
    if not propagation:
        propagation, deep = sys.MS_PRIVATE, options.recursive
    if deep:
        sys.mount_setattr(tree, propagation=propagation, recursive=True)
        propagation = 0
    if options.set or options.clear or propagation:
        sys.mount_setattr(tree, set_=options.set, clear=options.clear, propagation=propagation)
    if options.tree_set or options.tree_clear:
        sys.mount_setattr(tree, set_=options.tree_set, clear=options.tree_clear, recursive=True)
    return tree


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


def make_cgroup_base() -> int:
    """On v1: a detached tmpfs with a directory for each hierarchy and the links beside them; -1 on v2."""
    binds = cgroups.binds("")
    if not all(name for name, _ in binds):
        return -1
    base = filesystems.create("tmpfs", MountOptions(["mode=755", "size=64k"]), "tmpfs")
    for name, _ in binds:
        os.mkdir(name, 0o755, dir_fd=base)
    for name, target in cgroups.links():
        os.symlink(target, name, dir_fd=base)
    return base


def get_cgroup_mount_ready(ready: filesystems.Ready, cgroup: str, entry: dict[str, Any]) -> None:
    """Make the mount that this entry asks for, of the cgroup that is ready. What it shows stays so when that gets its
    name. Raises OSError: before kernel 6.15 nothing can be mounted on what is detached itself."""
    options = MountOptions(entry["options"])
    base = make_cgroup_base()
    if base >= 0:
        binds = cgroups.binds(cgroup)
        _bind_groups(base, binds, options)
        ready.cgroups, ready.cgroup_options, ready.cgroup_count = base, options.set, len(binds)


def _bind_groups(base: int, binds: list[tuple[str, str]], options: MountOptions) -> None:
    """Each hierarchy's group on its directory."""
    bind = MountOptions([])
    bind.set = options.set
    for name, directory in binds:
        tree = _clone_tree(directory, bind)
        sys.move_mount(tree, base, name)
        os.close(tree)
    sys.mount_setattr(base, set_=options.set)


def _mount_cgroup(
    destination: str,
    root_fd: int,
    options: MountOptions,
    cgroup: str | None,
    ready: filesystems.Ready,
    *,
    own: bool,
) -> None:
    """Bind the container's own group(s): the same view as a cgroup mount in a cgroup namespace, without the price of
    a superblock each (they cost again at teardown). Without a namespace of its `own` it sees all of v2, as in runc:
    /proc/self/cgroup names a path there."""
    if cgroup is None:
        return
    binds = cgroups.binds(cgroup if own or cgroups.version() == "1" else "")
    place = _open_place(root_fd, destination, True)
    if binds and not binds[0][0]:  # version 2: the whole
        bind = MountOptions([])
        bind.set = options.set
        base = _clone_tree(binds[0][1], bind)
        sys.move_mount(base, place)
    elif ready.cgroups >= 0 and ready.cgroup_options == options.set and ready.cgroup_count == len(binds):
        base = ready.cgroups
        sys.move_mount(base, place)
    else:
        base = make_cgroup_base()
        sys.move_mount(base, place)
        _bind_groups(base, binds, options)
    os.close(place)
    os.close(base)


def mask(paths: list[str], root_fd: int) -> None:
    """Cover files by /dev/null and directories by one shared, empty, read-only tmpfs. Missing paths are skipped."""
    null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    empty = -1
    try:
        found = os.fstat(null)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
            raise OSError(errno.ENODEV, "the host's /dev/null is not the null device", "/dev/null")
        for path in paths:
            try:
                place = inroot.open_in_root(root_fd, path, os.O_PATH)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                if not stat.S_ISDIR(os.fstat(place).st_mode):
                    _cover(null, place)
                elif empty >= 0:
                    _cover(empty, place)
                else:
                    # Attached before it is cloned: a detached mount can be only since kernel 6.15.
                    empty = filesystems.create("tmpfs", MountOptions(["ro", "size=0k", "nr_inodes=2"]), "tmpfs")
                    sys.move_mount(empty, place)
            finally:
                os.close(place)
    finally:
        os.close(null)
        if empty >= 0:
            os.close(empty)


def _cover(source: int, place: int) -> None:
    cover = sys.open_tree(source, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH)
    sys.move_mount(cover, place)
    os.close(cover)


def make_readonly(paths: list[str], root_fd: int) -> None:
    """Bind each path on itself, read-only with all below. Missing paths are skipped."""
    for path in paths:
        try:
            place = inroot.open_in_root(root_fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue
        tree = sys.open_tree(place, b"", sys.OPEN_TREE_CLONE | sys.AT_EMPTY_PATH | sys.AT_RECURSIVE)
        sys.mount_setattr(tree, set_=sys.MOUNT_ATTR_RDONLY, recursive=True)
        sys.move_mount(tree, place)
        os.close(tree)
        os.close(place)


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
