"""config.json of a bundle: read, checked, and completed with what every container has.

What this runtime can't honour is refused by name, before anything is made.
"""

from __future__ import annotations

import json
import os

from dosirak.engine.oci.failure import Failure
from dosirak.engine.runtime import defaults, namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "config.json"

# (where, what is said): fields of runtime-spec 1.2 whose meaning this runtime does not have.
_REFUSED = (
    ("process.apparmorProfile", "AppArmor profiles"),
    ("process.selinuxLabel", "SELinux labels"),
    ("process.scheduler", "scheduling policies"),
    ("process.ioPriority", "I/O priorities"),
    ("process.execCPUAffinity", "CPU affinities of execs"),
    ("linux.intelRdt", "Intel RDT"),
    ("linux.personality", "personalities"),
    ("linux.resources.hugepageLimits", "limits of huge pages"),
    ("linux.resources.network", "network classes and priorities"),
    ("linux.resources.rdma", "RDMA limits"),
    ("linux.resources.unified", "unified cgroup settings"),
    ("vm", "virtual machines"),
    ("windows", "Windows containers"),
    ("solaris", "Solaris containers"),
    ("zos", "z/OS containers"),
)


def read(path: str) -> dict[str, Any]:
    """A JSON object in a file. Raises Failure."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except FileNotFoundError:
        raise Failure(f"JSON specification file {path} not found") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Failure(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise Failure(f"{path}: not a JSON object")
    return found


def load(bundle: str, name: str) -> dict[str, Any]:
    """config.json of a bundle, for a container of this name. Raises Failure."""
    config = read(os.path.join(bundle, FILE))
    check(config)
    linux = config["linux"]
    path = linux.get("cgroupsPath") or f"dosirak/{name}"
    if path.count(":") == 2 and not path.startswith("/"):
        raise Failure(f"linux.cgroupsPath {path!r} is systemd's; this runtime manages cgroups by their files")
    linux["cgroupsPath"] = os.path.normpath(f"/{path}").lstrip("/")
    if not linux["cgroupsPath"]:
        raise Failure("linux.cgroupsPath must not be the root of the hierarchy")
    resources = linux.get("resources") or {}
    if rules := resources.get("devices"):
        # As runc: the default devices (runtime-spec, "Default Devices") can be used whatever the rules say.
        resources["devices"] = [*rules, *(rule for rule in defaults.DEVICE_RULES if rule["allow"])]
    linux["resources"] = resources
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
            raise Failure(f"{path}: {what} are not supported by this runtime")
    spaces = [entry.get("type") for entry in config["linux"].get("namespaces") or ()]
    for kind in spaces:
        if kind not in namespaces.FLAGS:
            raise Failure(f"namespace {kind!r} does not exist")
        if spaces.count(kind) > 1:
            raise Failure(f"namespace {kind!r} is listed twice")
    if "mount" not in spaces:
        raise Failure("a container without a mount namespace of its own is not supported")
    if (config.get("hostname") or config.get("domainname")) and "uts" not in spaces:
        raise Failure("unable to set hostname without a private UTS namespace")
    for mount in config.get("mounts") or ():
        if not isinstance(mount.get("destination"), str):
            raise Failure("mount without a destination")
        if mount.get("uidMappings") or mount.get("gidMappings"):
            raise Failure(f"mount {mount['destination']}: id-mapped mounts are not supported by this runtime")


def check_process(process: dict[str, Any]) -> None:
    """Raises Failure."""
    if not process.get("args"):
        raise Failure("process.args must not be empty")
    if not str(process.get("cwd") or "").startswith("/"):
        raise Failure("process.cwd must be an absolute path")
    for entry in process.get("env") or ():
        if "=" not in entry or "\0" in entry:
            raise Failure(f"invalid environment variable: {entry!r}")


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def size_of(process: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of the terminal, (0, 0) where it says none."""
    size = process.get("consoleSize") or {}
    return size.get("height", 0), size.get("width", 0)
