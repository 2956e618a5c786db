"""What files tell of a host. Everything may be missing: what can't be read is not there."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from dosirak.engine.doctor.model import Cgroups, Ids, Seen
from dosirak.engine.doctor.trying import try_all
from dosirak.engine.rootless import ids as subids
from dosirak.engine.runtime import capabilities, quota, syscalls

PROGRAMS = ("newuidmap", "newgidmap", "pasta", "slirp4netns", "apparmor_parser")
# Found by the engine whatever the PATH.
_ROOTS, _PATH = ("apparmor_parser",), f"{os.defpath}:/usr/sbin:/sbin"
SETTINGS = (
    "user.max_user_namespaces",
    "kernel.unprivileged_userns_clone",
    "kernel.apparmor_restrict_unprivileged_userns",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_unprivileged_port_start",
)
_ALL_IDS = (1 << 32) - 1


def look(place: Path) -> Seen:
    """Look at this host, as the user who asks. Parameters: `place`: the engine's root, which need not exist."""
    release = _os_release()
    near = next(path for path in (place, *place.parents) if path.is_dir())
    device = os.statvfs(near)
    owner = _who()
    found = {name: _setting(name) for name in SETTINGS}
    return Seen(
        release=os.uname().release,
        machine=os.uname().machine,
        system=release.get("PRETTY_NAME", "Linux"),
        family=(release.get("ID", ""), *release.get("ID_LIKE", "").split()),
        container=_container(),
        wsl=_wsl(os.uname().release),
        capable=bool(syscalls.capget()[0] & capabilities.SYS_ADMIN),
        ids=owner,
        cgroups=_cgroups(ordinary=owner.ordinary),
        tried=try_all(near, ordinary=owner.uid != 0),
        programs={name: shutil.which(name, path=_PATH if name in _ROOTS else None) or "" for name in PROGRAMS},
        settings={name: value for name, value in found.items() if value is not None},
        locked=tuple(name for name in SETTINGS if not os.access(_setting_file(name), os.W_OK)),
        tun=os.access("/dev/net/tun", os.R_OK | os.W_OK),
        modules=tuple(name for name in _read("/sys/kernel/security/lsm").strip().split(",") if name) or _lsm(),
        place=str(place),
        filesystem=_filesystem(near),
        free=device.f_bavail * device.f_frsize,
        quota=_quota(near),
    )


def _who() -> Ids:
    uid, gid = os.geteuid(), os.getegid()
    rows = [[int(number) for number in line.split()] for line in _read("/proc/self/uid_map").splitlines()]
    size = sum(row[2] for row in rows)
    if uid == 0 and 0 < size < _ALL_IDS:
        groups = sum(int(line.split()[2]) for line in _read("/proc/self/gid_map").splitlines())
        # Root in here is somebody outside.
        free = subids.first_free(_read(subids.SUBUID), _read(subids.SUBGID))
        return Ids(uid, _name(rows[0][1]), True, size - 1, groups - 1, free)
    own, free = subids.of_user(uid, gid), subids.first_free(_read(subids.SUBUID), _read(subids.SUBGID))
    return Ids(uid, _name(uid), False, sum(one.size for one in own.uids), sum(one.size for one in own.gids), free)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _cgroups(*, ordinary: bool) -> Cgroups:
    mounts: dict[str, list[tuple[str, str]]] = {"cgroup": [], "cgroup2": []}
    for line in _read("/proc/self/mountinfo").splitlines():
        own, _, shared = line.partition(" - ")
        fields, kind = own.split(), shared.split()
        # What is mounted over it is what is seen there.
        if kind and kind[0] in mounts and _is_on_top(fields[4], fields[2]):
            mounts[kind[0]].append((fields[4], kind[2] if len(kind) > 2 else ""))
    words = {word for _, options in mounts["cgroup"] for word in options.split(",") if "=" not in word}
    v1 = sorted(words - {"rw", "ro", "xattr", ""})
    if mounts["cgroup2"]:
        root = Path(mounts["cgroup2"][0][0])
        controllers = _read(root / "cgroup.controllers").split()
        if not v1 or "memory" in controllers:
            group = _own_group(root) if ordinary else root
            return Cgroups("v2", tuple(_read(group / "cgroup.controllers").split()), os.access(group, os.W_OK))
    if not v1:
        return Cgroups()
    places = [place for place, _ in mounts["cgroup"]]
    writable = all(os.access(place, os.W_OK) and not os.statvfs(place).f_flag & os.ST_RDONLY for place in places)
    return Cgroups("hybrid" if mounts["cgroup2"] else "v1", tuple(v1), writable)


def _is_on_top(place: str, device: str) -> bool:
    try:
        number = Path(place).stat().st_dev
    except OSError:
        return False
    return f"{os.major(number)}:{os.minor(number)}" == device


def _own_group(root: Path) -> Path:
    """The highest group above this process that is the user's."""
    path = next((line[3:] for line in _read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
    group = root / path.lstrip("/")
    found = group
    for above in (group, *group.parents):
        if above == root or not os.access(above / "cgroup.subtree_control", os.W_OK):
            break
        found = above
    return found


def _container() -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ or Path("/var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    if Path("/run/.containerenv").exists():
        return "podman"
    if Path("/.dockerenv").exists():
        return "docker"
    return _read("/run/systemd/container").strip()


def _wsl(release: str) -> int:
    lowered = release.lower()
    if "microsoft" not in lowered:
        return 0
    return 2 if "wsl2" in lowered or "microsoft-standard" in lowered else 1


def _lsm() -> tuple[str, ...]:
    """Where securityfs is not mounted."""
    return ("apparmor",) if _read("/sys/module/apparmor/parameters/enabled").startswith("Y") else ()


def _filesystem(place: Path) -> str:
    number = place.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    for line in reversed(_read("/proc/self/mountinfo").splitlines()):
        own, _, shared = line.partition(" - ")
        if own.split()[2] == device:
            return shared.split()[0]
    return ""


def _quota(place: Path) -> bool:
    try:
        return quota.enforced(str(place))
    except OSError:
        return False


def _setting_file(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"


def _setting(name: str) -> str | None:
    return _read(_setting_file(name)).strip() or None


def _os_release() -> dict[str, str]:
    pairs = (line.partition("=") for line in _read("/etc/os-release").splitlines() if "=" in line)
    return {name: value.strip().strip("'\"") for name, _, value in pairs}


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
