"""Flags → the body of POST /containers/create, as the docker CLI 28 writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dosirak.magics.errors import NotSupported, UsageError
from dosirak.magics.grammar.create import keyvalues, mounts, networking, ports, resources, security

_PULL = ("always", "missing", "never", "")
_LACKING = {
    "gpus": "GPUs come with a later version",
    "runtime": "the engine has one runtime, its own",
    "isolation": "it is a Windows flag",
    "cpu_count": "it is a Windows flag",
    "cpu_percent": "it is a Windows flag",
    "io_maxbandwidth": "it is a Windows flag",
    "io_maxiops": "it is a Windows flag",
    "use_api_socket": "mount the engine's socket with -v instead",
    "kernel_memory": "the kernel has it no longer",
}


@dataclass(frozen=True)
class Create:
    """A container to be made: the API's document, and what goes beside it."""

    document: dict[str, Any]
    name: str
    platform: str
    pull: str
    quiet: bool
    cidfile: str

    @property
    def image(self) -> str:
        """The image's name as it was given."""
        return str(self.document["Image"])

    @property
    def query(self) -> dict[str, str]:
        """The request's query."""
        return {key: value for key, value in (("name", self.name), ("platform", self.platform)) if value}


def build(flags: dict[str, Any], image: str, command: list[str], *, given: frozenset[str] = frozenset()) -> Create:
    """Translate `flags` (by click's names) for `image` and `command`.

    Parameters: `given` names the flags that were on the command line: an empty `--entrypoint`, a `--stop-timeout 0`
    and `--init=false` mean something there.

    Raises UsageError (125) in Docker's words.
    """
    _refuse_lacking(flags)
    if flags["pull"] not in _PULL:
        raise UsageError(f"""invalid pull option: '{flags["pull"]}': must be one of "always", "missing" or "never\"""")
    try:
        document = _document(flags, image, command, given)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Create(document, flags["name"], flags["platform"], flags["pull"], flags["quiet"], flags["cidfile"])


def _refuse_lacking(flags: dict[str, Any]) -> None:
    for name, why in _LACKING.items():
        if flags.get(name):
            raise NotSupported(f"--{name.replace('_', '-')}: not supported by Dosirak ({why})")
    if not flags["disable_content_trust"]:
        raise NotSupported("--disable-content-trust=false: not supported by Dosirak (nobody keeps signatures any more)")
    if flags["volume_driver"] not in ("", "local"):
        raise NotSupported(f"--volume-driver {flags['volume_driver']}: not supported by Dosirak (local only)")


def _document(flags: dict[str, Any], image: str, command: list[str], given: frozenset[str]) -> dict[str, Any]:
    binds, volumes = mounts.parse_volumes(list(flags["volume"]))
    exposed, bindings = ports.parse_published(list(flags["publish"]))
    for port in ports.parse_exposed(list(flags["expose"])):
        exposed.setdefault(port, {})
    networks = list(flags["network"])
    config = _config(flags, image, command, given) | {"Volumes": volumes}
    if exposed:
        config["ExposedPorts"] = exposed
    host = {"Binds": binds or None, "PortBindings": bindings, "NetworkMode": networking.network_mode(networks)}
    config["HostConfig"] = _host_config(flags, given) | host
    config["NetworkingConfig"] = {"EndpointsConfig": networking.endpoints(networks, flags)}
    return config


def _config(flags: dict[str, Any], image: str, command: list[str], given: frozenset[str]) -> dict[str, Any]:
    streams = set(flags["attach"]) or {"stdout", "stderr"}
    interactive = flags["interactive"]
    attach_stdin = interactive or "stdin" in streams
    entrypoint = [flags["entrypoint"]] if "entrypoint" in given else None
    config: dict[str, Any] = {
        "Hostname": flags["hostname"],
        "Domainname": flags["domainname"],
        "User": flags["user"],
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Tty": flags["tty"],
        "OpenStdin": interactive,
        "StdinOnce": interactive and attach_stdin,
        "Env": keyvalues.environment(flags["env_file"], flags["env"]),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": flags["workdir"],
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": keyvalues.labels(flags["label_file"], flags["label"]),
    }
    if flags["stop_signal"]:
        config["StopSignal"] = flags["stop_signal"]
    if "stop_timeout" in given:
        config["StopTimeout"] = flags["stop_timeout"]
    if check := security.healthcheck(flags):
        config["Healthcheck"] = check
    if flags.get("detach"):
        config |= {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "StdinOnce": False}
    return config


def _annotations(flags: dict[str, Any]) -> dict[str, str]:
    """Those asked for; what Docker's API has no field for is one too."""
    found = keyvalues.pair_map(flags["annotation"])
    return {**found, "dosirak.time-offset": flags["time_offset"]} if flags["time_offset"] else found


def _host_config(flags: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
    restart = security.restart_policy(flags["restart"])
    if flags["rm"] and restart["Name"] not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    host: dict[str, Any] = {
        "ContainerIDFile": flags["cidfile"],
        "LogConfig": security.logging(flags["log_driver"], keyvalues.pair_map(flags["log_opt"])),
        "RestartPolicy": restart,
        "AutoRemove": flags["rm"],
        "VolumeDriver": flags["volume_driver"],
        "VolumesFrom": list(flags["volumes_from"]) or None,
        "ConsoleSize": list(flags.get("console_size") or (0, 0)),
        "CapAdd": security.capabilities(list(flags["cap_add"])),
        "CapDrop": security.capabilities(list(flags["cap_drop"])),
        "Dns": list(flags["dns"]),
        "DnsOptions": list(flags["dns_option"]),
        "DnsSearch": list(flags["dns_search"]),
        "ExtraHosts": list(flags["add_host"]) or None,
        "GroupAdd": list(flags["group_add"]) or None,
        "Cgroup": "",
        "Links": list(flags["link"]) or None,
        "OomScoreAdj": flags["oom_score_adj"],
        "Privileged": flags["privileged"],
        "PublishAllPorts": flags["publish_all"],
        "ReadonlyRootfs": flags["read_only"],
        "ShmSize": flags["shm_size"],
        "Isolation": "",
    }
    host |= security.security_options(list(flags["security_opt"]))
    host |= security.namespaces(flags)
    host |= resources.resources(flags)
    optional = {
        "Annotations": _annotations(flags),
        "Tmpfs": mounts.parse_tmpfs(list(flags["tmpfs"])),
        "Sysctls": keyvalues.pair_map(flags["sysctl"]),
        "StorageOpt": security.storage(list(flags["storage_opt"])),
        "Mounts": list(flags["mount"]),
    }
    host |= {key: value for key, value in optional.items() if value}
    if "init" in given:
        host["Init"] = flags["init"]
    return host
