"""A container's record as an OCI runtime document (config.json). Pure: what must be looked up comes in by `Resolved`.

Defaults, order and options are Docker's (moby, daemon/oci_linux.go), except that every container has a cgroup
namespace of its own, on cgroup v1 too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dosirak.engine.containers import merge, security
from dosirak.engine.containers.documents import HostConfig
from dosirak.engine.containers.limits import group, oci
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.mounts import MountPlan, depth, tmpfs_options
from dosirak.engine.containers.sharing.ids import IdMap
from dosirak.engine.runtime import defaults, privilege, rootfs

_OCI_VERSION = "1.2.0"
# Set in every network namespace of a container's own, as Docker does: ping and low ports without capabilities.
_NETWORK_SYSCTLS = {"net.ipv4.ping_group_range": "0 {last_gid}", "net.ipv4.ip_unprivileged_port_start": "0"}
_WRITABLE_ON_READONLY_ROOT = frozenset({"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the record does not say by itself.

    `lower`: overlay lower directories, the topmost first; `upper`, `work`: the container's own. `files`: destination →
    the container's own file ("/etc/hosts"). `capabilities`: names. `devices`: entries of linux.devices;
    `device_rules`: entries of linux.resources.devices. `shm`: a directory to bind on /dev/shm ("": a tmpfs of its own).
    `apparmor`: a profile's name, "" for none; `joined`: types of namespaces that come as descriptors; `seccomp`:
    linux.seccomp as JSON, empty if there is none. `linked`: the variables of --link.
    """

    lower: Sequence[str]
    upper: str
    work: str
    files: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] = ()
    no_new_privileges: bool = False
    apparmor: str = ""
    writable_cgroups: bool = False
    unmasked: bool = False
    seccomp: bytes = b""
    devices: Sequence[Mapping[str, Any]] = ()
    device_rules: Sequence[Mapping[str, Any]] = ()
    shm: str = ""
    joined: frozenset[str] = frozenset()
    linked: Sequence[str] = ()


def build(container: Container, resolved: Resolved) -> dict[str, Any]:
    """The document. Raises InvalidRequest where a limit names a device that isn't there."""
    host = container.host_config
    spec: dict[str, Any] = {
        "ociVersion": _OCI_VERSION,
        "process": process(
            container,
            resolved.capabilities,
            no_new_privileges=resolved.no_new_privileges,
            apparmor=resolved.apparmor,
        ),
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "mounts": [root_mount(resolved, idmap=bool(container.id_maps)), *_mounts(container, resolved)],
        "linux": _linux(container, resolved),
    }
    if resolved.linked:
        config = container.config
        spec["process"]["env"] = merge.environment(config, config.hostname, linked=resolved.linked)
    if host.uts_mode != "host" and "uts" not in resolved.joined:
        spec["hostname"] = container.config.hostname
        if container.config.domainname:
            spec["domainname"] = container.config.domainname
    annotations = dict(host.annotations or {})
    annotations.pop("dosirak.groups", None)
    if host.group_add:
        annotations["dosirak.groups"] = ",".join(host.group_add)
    if annotations:
        spec["annotations"] = annotations
    return spec


def process(
    container: Container, capabilities: Sequence[str], *, no_new_privileges: bool, apparmor: str = ""
) -> dict[str, Any]:
    """The first process, with these capabilities (names). Parameters: `apparmor`: its profile, "" for none."""
    config, host = container.config, container.host_config
    found: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"username": config.user or "0"},
        "args": [container.path, *container.args],
        "env": merge.environment(config, config.hostname),
        "cwd": config.working_dir or "/",
        "capabilities": capability_sets(capabilities, config.user),
        "rlimits": security.rlimits(host),
        "noNewPrivileges": no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }
    if apparmor:
        found["apparmorProfile"] = apparmor
    if config.tty and any(host.console_size):
        found["consoleSize"] = {"height": host.console_size[0], "width": host.console_size[1]}
    return found


def capability_sets(names: Sequence[str], user: str) -> dict[str, list[str]]:
    """Docker's sets: inheritable and ambient stay empty (CVE-2022-24769), and without root so do the effective ones.

    A user by name is looked up by the runtime in the container's own files, which then drops them in the same way.
    """
    name = user.partition(":")[0]
    kept = [] if name.isascii() and name.isdigit() and int(name) else list(names)
    return {"bounding": list(names), "effective": kept, "permitted": kept, "inheritable": [], "ambient": []}


def root_mount(resolved: Resolved, *, idmap: bool = False) -> dict[str, Any]:
    """The root filesystem: an overlay as the first mount, which is how our runtime takes it."""
    options = [f"lowerdir+={path}" for path in resolved.lower]
    if idmap:
        options.append("idmap")
    options += [f"upperdir={resolved.upper}", f"workdir={resolved.work}"]
    return {"destination": "/", "type": "overlay", "source": "overlay", "options": options}


def _mounts(container: Container, resolved: Resolved) -> list[dict[str, Any]]:
    host = container.host_config
    asked = _asked_mounts(container, resolved)
    places = {entry["destination"] for entry in asked}
    found = []
    for entry in _default_mounts(host, resolved):
        place = entry["destination"]
        if place in places or ("/dev" in places and place.startswith("/dev/")):
            continue
        if host.readonly_rootfs and place not in _WRITABLE_ON_READONLY_ROOT and "ro" not in entry["options"]:
            entry["options"] = [*(option for option in entry["options"] if option != "rw"), "ro"]
        found.append(entry)
    return found + asked


def _default_mounts(host: HostConfig, resolved: Resolved) -> list[dict[str, Any]]:
    writable = host.privileged or resolved.writable_cgroups
    found: list[dict[str, Any]] = []
    for entry in defaults.mounts(shm_size=host.shm_size or 64 << 20, privileged=host.privileged):
        place = entry["destination"]
        if place == "/sys/fs/cgroup" and writable:
            entry["options"] = ["nosuid", "noexec", "nodev", "rw"]
        if place == "/dev/shm":
            if host.ipc_mode == "none":
                continue
            if resolved.shm:
                entry = _bind(place, resolved.shm, "rw", "rprivate")
        found.append(entry)
    return found


def _asked_mounts(container: Container, resolved: Resolved) -> list[dict[str, Any]]:
    """Binds, volumes, tmpfs and the container's own files, from the top down so that none hides another."""
    host = container.host_config
    idmap = bool(container.id_maps)
    found = [_planned(entry, idmap=idmap) for entry in container.mount_plans]
    for path, text in (host.tmpfs or {}).items():
        found.append(_tmpfs(posixpath.normpath(path), tmpfs_options(text.split(",") if text else ())))
    places = {entry["destination"] for entry in found}
    access = "ro" if host.readonly_rootfs else "rw"
    found += [
        _bind(place, source, access, "rprivate", idmap=idmap)
        for place, source in resolved.files.items()
        if place not in places
    ]
    return sorted(found, key=lambda entry: depth(entry["destination"]))


def _planned(entry: MountPlan, *, idmap: bool) -> dict[str, Any]:
    """Parameters: `idmap`: what is the engine's own belongs to the container's users; a bind's source does not."""
    if entry.type == "tmpfs":
        return _tmpfs(entry.destination, entry.options)
    access = "rw" if entry.rw else "ro" if entry.flat_readonly else "rro"
    found = _bind(
        *(entry.destination, entry.source, access, entry.propagation or "rprivate"),
        recursive=entry.recursive,
        idmap=idmap and (entry.type != "bind" or entry.idmap),
    )
    if entry.layers:
        found[rootfs.LAYERS] = entry.layers
    if entry.subpath:
        found[rootfs.SUBPATH] = entry.subpath
    return found


def _tmpfs(place: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def _bind(
    place: str, source: str, access: str, propagation: str, *, recursive: bool = True, idmap: bool = False
) -> dict[str, Any]:
    options = ["rbind" if recursive else "bind", propagation]
    if idmap:
        options.append("idmap")
    if access != "rw":
        options.append(access)
    return {"destination": place, "type": "bind", "source": source, "options": options}


def _linux(container: Container, resolved: Resolved) -> dict[str, Any]:
    host = container.host_config
    limits: dict[str, Any] = oci.to_oci(host)
    limits["devices"] = list(resolved.device_rules)
    found: dict[str, Any] = {
        "cgroupsPath": group.path_of(container),
        "namespaces": [{"type": name} for name in _namespaces(container)],
        "resources": limits,
        "sysctl": _sysctls(container),
        "maskedPaths": _paths(host.masked_paths, defaults.MASKED_PATHS, host, resolved),
        "readonlyPaths": _paths(host.readonly_paths, defaults.READONLY_PATHS, host, resolved),
    }
    if resolved.seccomp:
        found["seccomp"] = msgspec.Raw(resolved.seccomp)
    if container.id_maps:
        found["namespaces"].append({"type": "user"})
        found |= {"uidMappings": mappings(container.id_maps), "gidMappings": mappings(container.id_maps)}
    if resolved.devices:
        found["devices"] = [dict(device) for device in resolved.devices]
    if offsets := security.time_offsets(host.annotations or {}):
        found["timeOffsets"] = offsets
    if propagation := _root_propagation(container.mount_plans):
        found["rootfsPropagation"] = propagation
    return found


def mappings(maps: Sequence[IdMap]) -> list[dict[str, int]]:
    """A user namespace's, as config.json has them."""
    return [{"containerID": one.inside, "hostID": one.outside, "size": one.size} for one in maps]


def _paths(asked: Sequence[str] | None, usual: Sequence[str], host: HostConfig, resolved: Resolved) -> list[str]:
    if host.privileged or resolved.unmasked:
        return []
    return list(usual if asked is None else asked)


def _namespaces(container: Container) -> list[str]:
    host = container.host_config
    shared = {
        "network": host.network_mode == "host",
        "ipc": host.ipc_mode == "host",
        "pid": host.pid_mode == "host",
        "uts": host.uts_mode == "host",
        "cgroup": host.cgroupns_mode == "host",
    }
    return [name for name in defaults.NAMESPACES if not shared.get(name)]


def _sysctls(container: Container) -> dict[str, str]:
    host = container.host_config
    # In a user namespace these can't be set from inside: there are groups that it does not know. The networks room has.
    own_network = (
        not container.id_maps and host.network_mode != "host" and not host.network_mode.startswith("container:")
    )
    usual = _NETWORK_SYSCTLS if own_network else {}
    last = privilege.here().last_gid
    return {**{name: value.format(last_gid=last) for name, value in usual.items()}, **(host.sysctls or {})}


def _root_propagation(plans: Sequence[MountPlan]) -> str:
    """A bind can be shared with, or a slave of, the host only below a root that is so too."""
    kinds = {entry.propagation.removeprefix("r") for entry in plans if entry.type == "bind"}
    return "shared" if "shared" in kinds else "rslave" if "slave" in kinds else ""
