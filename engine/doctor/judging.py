"""From what was seen to what it means: pure functions, one a subject, in the order in which they matter."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from dosirak.engine.doctor import remedies
from dosirak.engine.doctor.model import Finding, Report, Seen, State

_OLDEST = (5, 15)
_ARCHITECTURES = {"x86_64": "tested", "aarch64": "by table, never tried on a machine"}
_NOTHING_STARTS = "no container starts"
_OWN_NETWORK = "no networks of containers: only --network host and none"
# What the lack of a controller costs. Where v1 names it otherwise, that name follows.
_CONTROLLERS = {
    ("memory",): "-m, OOM kills and memory in stats",
    ("cpu",): "--cpus, --cpu-shares, --cpu-quota",
    ("pids",): "--pids-limit",
    ("cpuset",): "--cpuset-cpus, --cpuset-mems",
    ("io", "blkio"): "--blkio-weight, --device-read-bps and the like",
}
_LEAST_FREE = 1 << 30


def judge(seen: Seen) -> Report:
    """What this host allows."""
    subjects = (
        _kernel,
        _surroundings,
        _calls,
        _namespaces,
        _mounts,
        _overlay,
        _cgroups,
        _ids,
        _network,
        _ways_out,
        _ports,
        _confinement,
        _extras,
        _disk,
    )
    return Report(tuple(finding for subject in subjects for finding in subject(seen)))


def _worked(seen: Seen, what: str) -> str:
    """Why a try failed; "" when it worked. What was not tried is no failure."""
    return seen.tried.get(what, "")


def _finding(check: str, why: str, good: str, cost: str, remedy: str = "", *, otherwise: State = "missing") -> Finding:
    return Finding(check, otherwise, why, cost, remedy) if why else Finding(check, "ok", good)


def _kernel(seen: Seen) -> Iterator[Finding]:
    found = f"Linux {seen.release} on {seen.machine}, {seen.system}"
    if seen.machine not in _ARCHITECTURES:
        cost = "the engine does not start: it has no system call numbers for it"
        yield Finding("kernel", "missing", found, cost, "use x86_64 or arm64")
    elif seen.version < _OLDEST:
        cost = "older than 5.15, where nothing was tried; what follows was probed all the same"
        yield Finding("kernel", "limited", found, cost, "a newer kernel of your distribution")
    else:
        yield Finding("kernel", "ok", found)


def _surroundings(seen: Seen) -> Iterator[Finding]:
    if seen.wsl == 1:
        yield Finding("machine", "missing", "WSL 1", "it has no Linux kernel", "in Windows: wsl --set-version DISTRO 2")
        return
    kind = "WSL 2" if seen.wsl else f"inside a container ({seen.container})" if seen.container else "a machine"
    if seen.ids.confined:
        who = "root of a user namespace (rootless)"
    elif seen.ids.ordinary:
        who = f"user {seen.ids.name} (rootless)"
    elif seen.capable:
        who = "root"
    else:
        remedy = remedies.outside(seen, "run it as root with all capabilities, or as an ordinary user")
        yield Finding("machine", "missing", f"{kind}, root without CAP_SYS_ADMIN", _NOTHING_STARTS, remedy)
        return
    yield Finding("machine", "ok", f"{kind}, as {who}")


def _calls(seen: Seen) -> Iterator[Finding]:
    for what, why in seen.tried.items():
        kind, _, name = what.partition(" ")
        if kind == "call" and why:
            remedy = remedies.outside(seen, "a kernel from 5.15 on, and no filter that forbids it")
            yield Finding(f"system call {name}", "missing", why, _NOTHING_STARTS, remedy)
    if all(not why for what, why in seen.tried.items() if what.startswith("call ")):
        yield Finding("system calls", "ok", "openat2, close_range, pidfd_open")


def _namespaces(seen: Seen) -> Iterator[Finding]:
    user = _worked(seen, "namespace user")
    if user:
        yield _no_user_namespaces(seen, user)
    works = [] if user else ["user"]
    for name in ("mount", "pid", "network", "ipc", "uts", "cgroup", "time"):
        why = _worked(seen, f"namespace {name}")
        if not why:
            works.append(name)
        elif user and seen.ids.ordinary:
            continue  # they need that one, which has been told
        elif name == "time":
            yield Finding("namespace time", "limited", why, "--time-offset is refused", "a kernel with CONFIG_TIME_NS")
        elif name == "cgroup":
            cost = "containers see the host's group names"
            yield Finding("namespace cgroup", "limited", why, cost, "a kernel with CONFIG_CGROUPS and its namespaces")
        else:
            remedy = remedies.outside(seen, f"a kernel with {name} namespaces, and the right to make them")
            yield Finding(f"namespace {name}", "missing", why, _NOTHING_STARTS, remedy)
    if works:
        yield Finding("namespaces", "ok", ", ".join(works))


def _no_user_namespaces(seen: Seen, why: str) -> Finding:
    necessary = seen.ids.ordinary
    cost = "an ordinary user has no engine" if necessary else "--userns auto and rootless engines are refused"
    settings = seen.settings
    if settings.get("user.max_user_namespaces") == "0":
        remedy = remedies.setting("user.max_user_namespaces", 15000)
    elif settings.get("kernel.unprivileged_userns_clone") == "0":
        remedy = remedies.setting("kernel.unprivileged_userns_clone", 1)
    elif settings.get("kernel.apparmor_restrict_unprivileged_userns") == "1":
        remedy = remedies.setting("kernel.apparmor_restrict_unprivileged_userns", 0)
    elif seen.container:
        remedy = remedies.outer(seen)
    else:
        remedy = "a kernel with CONFIG_USER_NS, and no filter that forbids unshare(2)"
    return Finding("namespace user", "missing" if necessary else "limited", why, cost, remedy)


def _mounts(seen: Seen) -> Iterator[Finding]:
    if seen.ids.ordinary and _worked(seen, "namespace user"):
        return
    remedy = remedies.outside(seen, "a kernel from 5.15 on, and no filter that forbids mounts")
    why = _worked(seen, "mounts")
    yield _finding("mounts", why, "open_tree, mount_setattr, move_mount", _NOTHING_STARTS, remedy)
    why = _worked(seen, "proc")
    if why and seen.container:
        remedy = "the surrounding container must show its /proc whole: --security-opt systempaths=unconfined"
    yield _finding("/proc", why, "can be mounted anew", _NOTHING_STARTS, remedy)


def _overlay(seen: Seen) -> Iterator[Finding]:
    if seen.ids.ordinary and _worked(seen, "namespace user"):
        return
    why = _worked(seen, "overlay")
    good = f"works on {seen.filesystem}" + (", in a user namespace" if seen.ids.ordinary else "")
    if why == os.strerror(errno.ENODEV):
        remedy = remedies.module("overlay")
    else:
        remedy = "put the engine on a disk that can carry one: export DOSIRAK_ROOT=/a/folder/on/ext4/or/xfs"
        if seen.container:
            remedy += f"  # a volume: {remedies.outer(seen)}"
    found = f"{why} (on {seen.filesystem})" if why else ""
    yield _finding("overlay", found, good, f"no images, {_NOTHING_STARTS}", remedy)


def _cgroups(seen: Seen) -> Iterator[Finding]:
    groups, ordinary = seen.cgroups, seen.ids.ordinary
    if groups.mode == "none" or not groups.writable:
        found = "none" if groups.mode == "none" else f"{groups.mode}, not to be written"
        cost = "no limits (-m, --cpus, --pids-limit), no pause, stats added up from processes"
        if ordinary:
            v2 = "on the kernel's command line: systemd.unified_cgroup_hierarchy=1"
            remedy = remedies.DELEGATE if groups.mode == "v2" else v2
            yield Finding("cgroups", "limited", found, cost, remedy)
        else:
            remedy = remedies.outside(seen, "sudo mount -t cgroup2 none /sys/fs/cgroup")
            yield Finding("cgroups", "missing", found, _NOTHING_STARTS, remedy)
        return
    lacks = [names for names in _CONTROLLERS if not set(names) & set(groups.controllers)]
    if not lacks:
        yield Finding("cgroups", "ok", f"{groups.mode}: {' '.join(groups.controllers)}")
        return
    lost = "; ".join(_CONTROLLERS[names] for names in lacks)
    remedy = remedies.DELEGATE if ordinary else _enable([names[0] for names in lacks])
    found = f"{groups.mode} without {' '.join(names[0] for names in lacks)}"
    yield Finding("cgroups", "limited", found, f"not held: {lost}", remedy)


def _enable(controllers: list[str]) -> str:
    words = " ".join(f"cgroup_enable={name}" for name in controllers)
    return f"on the kernel's command line: {words} (GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo update-grub)"


def _ids(seen: Seen) -> Iterator[Finding]:
    if not seen.ids.ordinary:
        return
    cost = "one id is all there is: images with files of several owners can't be unpacked whole, USER is refused"
    if not (seen.ids.subuids and seen.ids.subgids):
        found = f"/etc/subuid and /etc/subgid give {seen.ids.name} nothing"
        yield Finding("subuid, subgid", "limited", found, cost, remedies.ids(seen.ids.name, seen.ids.free))
    else:
        size = min(seen.ids.subuids, seen.ids.subgids)
        yield Finding("subuid, subgid", "ok", f"{size} ids besides the own one")
    if seen.ids.confined:
        return
    lacks = [name for name in ("newuidmap", "newgidmap") if not seen.programs.get(name)]
    why = f"not found: {', '.join(lacks)}" if lacks else ""
    good = seen.programs.get("newuidmap", "")
    yield _finding("newuidmap", why, good, cost, remedies.install(seen, "uidmap"), otherwise="limited")


def _network(seen: Seen) -> Iterator[Finding]:
    if seen.ids.ordinary and _worked(seen, "namespace user"):
        return
    remedy = remedies.outside(seen, f"{remedies.module('bridge')} && {remedies.module('veth')}")
    yield _finding("bridge, veth", _worked(seen, "bridge"), "can be made", _OWN_NETWORK, remedy)
    why = _worked(seen, "nf_tables")
    if "libnftables" in why and "not found" in why:
        remedy = remedies.install(seen, "libnftables1")
    else:
        remedy = remedies.outside(seen, f"{remedies.module('nf_tables')} && {remedies.module('nft_chain_nat')}")
    yield _finding("nf_tables", why, "the engine's rules are taken", _OWN_NETWORK, remedy)


def _ways_out(seen: Seen) -> Iterator[Finding]:
    if not seen.ids.ordinary:
        forward = seen.settings.get("net.ipv4.ip_forward")
        if forward == "1":
            yield Finding("ip_forward", "ok", "1")
        elif forward == "0" and "net.ipv4.ip_forward" not in seen.locked:
            yield Finding("ip_forward", "ok", "0; the engine turns it on with its first bridge network")
        else:
            found = "0, and not to be written" if forward else "not to be seen (/proc/sys is hidden)"
            cost = "containers on bridge networks do not reach beyond this host"
            yield Finding("ip_forward", "limited", found, cost, remedies.setting("net.ipv4.ip_forward", 1))
        return
    if seen.ids.confined:
        return
    program = seen.programs.get("pasta") or seen.programs.get("slirp4netns", "")
    cost = "containers have no way to the outside, and published ports none in"
    why = "" if program else "neither pasta nor slirp4netns was found"
    yield _finding("pasta", why, program, cost, remedies.install(seen, "passt"), otherwise="limited")
    why = "" if seen.tun else "/dev/net/tun can't be opened"
    yield _finding("/dev/net/tun", why, "there", cost, remedies.module("tun"), otherwise="limited")


def _ports(seen: Seen) -> Iterator[Finding]:
    if not seen.ids.ordinary or seen.ids.confined:
        return
    first = seen.settings.get("net.ipv4.ip_unprivileged_port_start", "1024")
    if first.isdecimal() and int(first) <= 80:
        yield Finding("low ports", "ok", f"from {first} on")
        return
    remedy = remedies.setting("net.ipv4.ip_unprivileged_port_start", 80)
    yield Finding("low ports", "limited", f"from {first} on", f"-p 80:80 is refused: publish {first} or above", remedy)


def _confinement(seen: Seen) -> Iterator[Finding]:
    why, cost = _worked(seen, "seccomp"), "containers only start with --security-opt seccomp=unconfined"
    yield _finding("seccomp", why, "filters can be set", cost, "a kernel with CONFIG_SECCOMP_FILTER")
    unused = "apparmor" in seen.modules and not seen.ids.ordinary and not seen.programs.get("apparmor_parser")
    why = "AppArmor without its apparmor_parser" if unused else ""
    good = " ".join(seen.modules) or "none that tells of itself"
    cost, remedy = "containers have no AppArmor profile", remedies.install(seen, "apparmor")
    yield _finding("security modules", why, good, cost, remedy, otherwise="limited")


def _extras(seen: Seen) -> Iterator[Finding]:
    if seen.ids.ordinary:
        return
    why = _worked(seen, "idmapped")
    remedy = "a kernel from 5.19 on, and a file system that takes them (ext4, XFS, btrfs)"
    cost = "--userns auto is refused"
    yield _finding("idmapped mounts", why, f"work on {seen.filesystem}", cost, remedy, otherwise="limited")
    why = "" if seen.quota else f"{seen.filesystem} keeps no project quota"
    remedy = "sudo tune2fs -O project,quota -Q prjquota DEVICE  # an ext4, unmounted; an XFS is mounted with prjquota"
    yield _finding("quota", why, "kept by project", "--storage-opt size= is refused", remedy, otherwise="limited")


def _disk(seen: Seen) -> Iterator[Finding]:
    found = f"{seen.free / (1 << 30):.1f} GiB free at {seen.place} ({seen.filesystem})"
    why = found if seen.free < _LEAST_FREE else ""
    remedy = "dosirak system prune -a, or another disk: export DOSIRAK_ROOT=…"
    yield _finding("disk", why, found, "images may not fit", remedy, otherwise="limited")
