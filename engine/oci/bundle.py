"""config.json of a bundle: read, checked, and completed with what every container has.

What this runtime can't honour is refused by name, before anything is made.
"""

from __future__ import annotations

import os

from dosirak.engine.oci import documents
from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "config.json"
LATE_READONLY = "dosirak.readonly"
"""A mount's own key: it is read-only once all that belongs into it is there."""

# (where, what is said): fields of runtime-spec whose meaning this runtime does not have.
_REFUSED = (
    ("linux.intelRdt", "Intel RDT is"),
    ("linux.netDevices", "network devices moved into the container are"),
    ("vm", "virtual machines are"),
    ("windows", "Windows containers are"),
    ("solaris", "Solaris containers are"),
    ("zos", "z/OS containers are"),
    ("freebsd", "FreeBSD containers are"),
)
# What can be used whatever the rules say, as in runc: any node may be made; the default devices (runtime-spec).
_ALLOWED = [
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]


def read(path: str) -> dict[str, Any]:
    """A JSON object in a file. Raises Failure."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = documents.loads(file.readall())
    except FileNotFoundError:
        raise Failure(f"JSON specification file {path} not found") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise Failure(f"{path}: not a JSON object")
    return found


def load(bundle: str, name: str, file: str = "") -> dict[str, Any]:
    """config.json of a bundle (or another `file`), for a container of this name. Raises Failure."""
    config = read(os.path.join(bundle, file or FILE))
    try:
        check(config)
    except (TypeError, AttributeError, KeyError) as error:
        raise Failure(f"{FILE}: a value of the wrong kind, or one that is missing: {error}") from error
    linux = config["linux"]
    path = linux.get("cgroupsPath") or f"dosirak/{name}"
    if path.count(":") == 2 and not path.startswith("/"):
        raise Failure(f"linux.cgroupsPath {path!r} is systemd's; this runtime manages cgroups by their files")
    linux["cgroupsPath"] = os.path.normpath(f"/{path}").lstrip("/")
    if not linux["cgroupsPath"]:
        raise Failure("linux.cgroupsPath must not be the root of the hierarchy")
    # Links to the container's own ptys, always (runtime-spec, "Default Devices").
    linux["devices"] = [one for one in linux.get("devices") or () if os.path.normpath(one["path"]) != "/dev/ptmx"]
    resources = linux.get("resources") or {}
    if rules := resources.get("devices"):
        resources["devices"] = [*rules, *_ALLOWED]
    linux["resources"] = resources
    linux["maskedPaths"] = list(dict.fromkeys(linux.get("maskedPaths") or ()))
    return config


def check(config: dict[str, Any]) -> None:
    """Raises Failure for a document that is none, or asks for what can't be had."""
    if not isinstance(config.get("ociVersion"), str) or not config["ociVersion"].startswith("1."):
        raise Failure(f"unsupported ociVersion {config.get('ociVersion')!r} (must be 1.x)")
    for name in ("process", "root"):
        if not isinstance(config.get(name), dict):
            raise Failure(f"{name} must not be empty in {FILE}")
    config["linux"] = config.get("linux") or {}
    if not isinstance(config["root"].get("path"), str):
        raise Failure("root.path must not be empty")
    check_process(config["process"])
    for path, what in _REFUSED:
        if _at(config, path):
            raise Failure(f"{path}: {what} not supported by this runtime")
    _check_namespaces(config)
    _check_sysctls(config)
    for mount in config.get("mounts") or ():
        if not isinstance(mount.get("destination"), str):
            raise Failure("mount without a destination")
        if not mount["destination"].startswith("/"):  # taken as below the root, as runc does
            mount["destination"] = "/" + mount["destination"]
        if os.path.normpath(mount["destination"]) == "/dev" and "ro" in (mount.get("options") or ()):
            mount["options"] = [option for option in mount["options"] if option != "ro"]
            mount[LATE_READONLY] = True
    _check_manner(config["linux"])
    for kind, found in (config.get("hooks") or {}).items():
        for hook in found or ():
            if not str(hook.get("path") or "").startswith("/"):
                raise Failure(f"hooks.{kind}: the path of a hook must be absolute: {hook.get('path')!r}")


def _check_namespaces(config: dict[str, Any]) -> None:
    linux = config["linux"]
    spaces = [entry.get("type") for entry in linux.get("namespaces") or ()]
    for kind in spaces:
        if kind not in namespaces.FLAGS:
            raise Failure(f"namespace {kind!r} does not exist")
        if spaces.count(kind) > 1:
            raise Failure(f"namespace {kind!r} is listed twice")
    if "mount" not in spaces:
        raise Failure("a container without a mount namespace of its own is not supported")
    if (config.get("hostname") or config.get("domainname")) and "uts" not in spaces:
        raise Failure("unable to set hostname without a private UTS namespace")
    if linux.get("timeOffsets") and "time" not in spaces:
        raise Failure("time namespace is not enabled, but linux.timeOffsets is set")
    if (linux.get("uidMappings") or linux.get("gidMappings")) and "user" not in spaces:
        raise Failure("user namespace mappings specified, but user namespace isn't enabled in the config")


def _check_sysctls(config: dict[str, Any]) -> None:
    """A sysctl that no namespace of the container's own has would be the host's (sysctl(5), namespaces(7))."""
    linux = config["linux"]
    own = {entry["type"]: entry.get("path") for entry in linux.get("namespaces") or ()}
    for name, value in (linux.get("sysctl") or {}).items():
        dotted = name.replace("/", ".")
        named = config.get("domainname") if dotted == "kernel.domainname" else None
        if dotted == "kernel.hostname" or (named and named != value):
            raise Failure(f"sysctl {name!r} conflicts with the field of config.json of that name")
        if dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
            kind = "ipc"
        elif dotted.startswith("net."):
            kind = "network"
        elif dotted == "kernel.domainname":
            kind = "uts"
        elif dotted.startswith("user."):
            kind = "user"
        else:
            raise Failure(f"sysctl {name!r} is not in a separate kernel namespace")
        if kind not in own or _is_ours(own[kind], kind):
            raise Failure(f"sysctl {name!r} is not allowed in the host's {kind} namespace")


_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


def _is_ours(path: str | None, kind: str) -> bool:
    if not path:
        return False
    try:
        return os.path.samefile(path, f"/proc/self/ns/{'net' if kind == 'network' else kind}")
    except OSError:
        return False


def _check_manner(linux: dict[str, Any]) -> None:
    """How programs see the machine, and where their memory lies."""
    from dosirak.engine.oci import finish

    if personality := linux.get("personality"):
        _known("linux.personality.domain", personality.get("domain"), finish.PERSONALITIES)
        if personality.get("flags"):
            raise Failure("linux.personality.flags are not supported by this runtime")
    policy = linux.get("memoryPolicy")
    if policy is not None:
        _known("invalid memory policy mode", policy.get("mode"), finish.MEMORY_MODES)
        for flag in policy.get("flags") or ():
            _known("invalid memory policy flag", flag, finish.MEMORY_FLAGS)
        nodes = numbers("invalid memory policy nodes", policy.get("nodes") or "")
        if nodes and policy["mode"] in ("MPOL_DEFAULT", "MPOL_LOCAL"):
            raise Failure(f"invalid memory policy: {policy['mode']} mode requires 0 nodes but got {len(nodes)}")


def check_process(process: dict[str, Any]) -> None:
    """Raises Failure."""
    from dosirak.engine.oci import finish

    if not process.get("args"):
        raise Failure("process.args must not be empty")
    if not str(process.get("cwd") or "").startswith("/"):
        raise Failure("process.cwd must be an absolute path")
    for entry in process.get("env") or ():
        if "=" not in entry or "\0" in entry:
            raise Failure(f"invalid environment variable: {entry!r}")
    limits = [limit.get("type") for limit in process.get("rlimits") or ()]
    for kind in limits:
        if kind not in finish.LIMITS:
            raise Failure(f"invalid rlimit type: {kind}")
        if limits.count(kind) > 1:
            raise Failure(f"rlimit {kind} is listed twice")
    if scheduler := process.get("scheduler"):
        _known("process.scheduler.policy", scheduler.get("policy"), finish.POLICIES)
        for flag in scheduler.get("flags") or ():
            _known("process.scheduler.flags", flag, finish.SCHED_FLAGS)
    if priority := process.get("ioPriority"):
        _known("process.ioPriority.class", priority.get("class"), finish.IO_CLASSES)
        if not 0 <= priority.get("priority", 0) <= 7:
            raise Failure("process.ioPriority.priority must be between 0 and 7")
    for when in ("initial", "final"):
        if asked := (process.get("execCPUAffinity") or {}).get(when):
            numbers(f"process.execCPUAffinity.{when}", asked)
    for name, what, place in (
        ("apparmorProfile", "AppArmor", "/proc/self/attr/apparmor"),
        ("selinuxLabel", "SELinux", "/sys/fs/selinux"),
    ):
        if process.get(name) and not os.path.exists(place):
            raise Failure(f"process.{name} is specified in config, but {what} is not enabled on the host")
    (process.get("user") or {}).pop("username", None)  # Windows' (config.md, "User")


def _known(where: str, name: Any, names: dict[str, int]) -> None:
    if name not in names:
        raise Failure(f"{where}: {name!r} is unknown")


def numbers(where: str, text: str) -> set[int]:
    """A list of CPUs or nodes ("0-3,7"). Raises Failure, which names `where` it stands."""
    found: set[int] = set()
    try:
        for part in filter(None, text.replace(" ", "").split(",")):
            first, _, last = part.partition("-")
            if not 0 <= int(first) <= int(last or first) < 1024:
                raise ValueError
            found |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        raise Failure(f"{where}: {text!r} is not a list of numbers below 1024") from None
    return found


def warnings(process: dict[str, Any]) -> list[str]:
    """What is asked for and can't be had, but is no reason to fail (config.md, "Linux Process")."""
    from dosirak.engine.runtime import capabilities

    sets = {kind: set(names or ()) for kind, names in (process.get("capabilities") or {}).items()}
    said = []
    if unknown := sorted(set().union(*sets.values()) - capabilities.KNOWN):
        said.append(f"ignoring unknown or unavailable capabilities: {', '.join(unknown)}")
    basis = sets.get("inheritable", set()) & sets.get("permitted", set())
    for name in sorted(sets.get("ambient", set()) - basis - set(unknown)):
        said.append(f"can't raise ambient capability {name}: it is not permitted and inheritable")
    return said


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def size_of(process: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of the terminal, (0, 0) where it says none."""
    size = process.get("consoleSize") or {}
    return size.get("height", 0), size.get("width", 0)
