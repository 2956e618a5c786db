"""What `create` refuses, warns of and fills in, in Docker's words, before anything is made.

A field that this engine can't honour is refused or warned of here; none is left aside in silence.
"""

from __future__ import annotations

import re

from dosirak.engine.containers import merge, ports, security, signals
from dosirak.engine.containers.documents import (
    ContainerConfig,
    HostConfig,
    NetworkingConfig,
)
from dosirak.engine.containers.facts import Facts
from dosirak.engine.containers.limits import checks as limits
from dosirak.engine.containers.limits import group, storage
from dosirak.engine.containers.logs.options import check_log_config
from dosirak.engine.containers.networking import asked
from dosirak.engine.containers.restarts import checks as restarts
from dosirak.engine.containers.sharing import modes
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.networks import files
from dosirak.engine.runtime.defaults import MASKED_PATHS, READONLY_PATHS

_LONGEST_HOSTNAME = 64
# What would not stay one word of /etc/hosts: a blank or line feed would add an entry of the client's choosing.
_NOT_A_WORD = re.compile(r"[\x00-\x20\x7f-\x9f]")
RUNTIME = "dosirak"


def check(config: ContainerConfig, host: HostConfig, networking: NetworkingConfig, facts: Facts) -> list[str]:
    """Check and complete a request (changed in place). Returns warnings. Raises InvalidRequest, NotSupported."""
    _check_config(config)
    _refuse_unsupported(host)
    modes.check(config, host)
    warnings = limits.check(host, facts.limits)
    storage.parse(host.storage_opt or {})
    group.check(host.cgroup_parent)
    _check_numbers(host)
    _check_restart(host)
    warnings += check_log_config(host.log_config)
    security.choose_capabilities(host, facts.capabilities)
    security.parse_security_options(host.security_opt or (), apparmor=facts.apparmor)
    security.check_sysctls(host)
    security.rlimits(host)
    security.device_rules(host.device_cgroup_rules or ())
    _check_groups(host)
    security.time_offsets(host.annotations or {})
    ports.normalise(config, host)
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    _check_networking(config, host, networking)
    _check_resolver(config, host)
    _complete(host, facts)
    return warnings


def _check_config(config: ContainerConfig) -> None:
    config.working_dir = merge.clean_working_dir(config.working_dir)
    if config.stop_signal:
        signals.parse(config.stop_signal)
    check_environment(config.env or ())
    for what, words in (
        ("command", [*(config.entrypoint or ()), *(config.cmd or ())]),
        ("user", [config.user]),
        ("working directory", [config.working_dir]),
    ):
        if any("\0" in word for word in words):
            raise InvalidRequest(f"invalid {what}: contains a NUL character")
    if len(config.hostname.encode()) > _LONGEST_HOSTNAME:
        raise InvalidRequest(f'hostname "{config.hostname}" is too long (maximum {_LONGEST_HOSTNAME} bytes)')
    for what, name in (("hostname", config.hostname), ("domainname", config.domainname)):
        if _NOT_A_WORD.search(name):
            raise InvalidRequest(f"invalid {what}: {name!r}")
    if (health := config.healthcheck) is not None:
        for name in ("interval", "timeout", "start_period", "start_interval"):
            if 0 != getattr(health, name) < 1_000_000:
                words_ = "".join(word.title() for word in name.split("_"))
                raise InvalidRequest(f"{words_} in Healthcheck cannot be less than 1ms")
        if health.retries < 0:
            raise InvalidRequest("Retries in Healthcheck cannot be negative")


def check_environment(items: list[str] | tuple[str, ...]) -> None:
    """Raises InvalidRequest for a variable without a name, or with a NUL."""
    for item in items:
        if not item.partition("=")[0] or "\0" in item:
            raise InvalidRequest(f"invalid environment variable: {item}")


def _refuse_unsupported(host: HostConfig) -> None:
    if host.device_requests:
        request = host.device_requests[0]
        wanted = " ".join(f"[{' '.join(names)}]" for names in request.capabilities or ())
        raise InvalidRequest(f'could not select device driver "{request.driver}" with capabilities: [{wanted}]')
    if host.cgroup:
        raise NotSupported("joining another container's cgroup is not supported")
    if host.runtime not in ("", RUNTIME, "runc"):
        raise InvalidRequest(f"unknown or invalid runtime name: {host.runtime}")
    if host.isolation.lower() not in ("", "default"):
        raise InvalidRequest(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    for limit, what in ((host.io_maximum_bandwidth, "bandwidth"), (host.io_maximum_iops, "IOPs")):
        if limit:
            raise InvalidRequest(f"invalid option: QoS maximum {what} configuration is not supported on linux")


def _check_numbers(host: HostConfig) -> None:
    if host.shm_size < 0:
        raise InvalidRequest("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidRequest(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    for key in host.annotations or ():
        if not key:
            raise InvalidRequest("invalid Annotations: the empty string is not permitted as an annotation key")


def _check_restart(host: HostConfig) -> None:
    policy = host.restart_policy
    restarts.check(policy)
    policy.name = policy.name or "no"
    if host.auto_remove and policy.name != "no":
        raise InvalidRequest("can't create 'AutoRemove' container with restart policy")


def _check_groups(host: HostConfig) -> None:
    for name in host.group_add or ():
        if not name or _NOT_A_WORD.search(name) or "," in name or ":" in name:
            raise InvalidRequest(f"invalid group {name!r}")


def _check_networking(config: ContainerConfig, host: HostConfig, networking: NetworkingConfig) -> None:
    if host.network_mode in ("", "default"):
        host.network_mode = "bridge"
    if config.network_disabled:
        host.network_mode = "none"
    endpoints = dict(networking.endpoints_config or {})
    if "default" in endpoints:
        endpoints["bridge"] = endpoints.pop("default")
        networking.endpoints_config = endpoints
    modes.check_network(config, host)
    asked.check(endpoints)


def _check_resolver(config: ContainerConfig, host: HostConfig) -> None:
    """Write the files for nothing: their words are checked where they are written."""
    if not (host.extra_hosts or host.dns or host.dns_search or host.dns_options):
        return
    files.hosts(config.hostname or "name", config.domainname, extra=host.extra_hosts or (), host_gateway="127.0.0.1")
    files.resolv_conf("", dns=host.dns or (), search=host.dns_search or (), options=host.dns_options or ())


def _complete(host: HostConfig, facts: Facts) -> None:
    """Docker's defaults, where the client left a field empty."""
    if host.memory > 0 and host.memory_swap == 0:
        host.memory_swap = host.memory * 2
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None
    host.shm_size = host.shm_size or 64 << 20
    host.ipc_mode = host.ipc_mode or "private"
    host.cgroupns_mode = host.cgroupns_mode or "private"
    host.runtime = RUNTIME
    if not host.privileged:
        # As Docker's inspect shows them.
        host.masked_paths = list(MASKED_PATHS) if host.masked_paths is None else host.masked_paths
        host.readonly_paths = list(READONLY_PATHS) if host.readonly_paths is None else host.readonly_paths
    if host.oom_kill_disable is None and facts.limits.oom_kill_disable:
        host.oom_kill_disable = False
