"""`--pid`, `--ipc`, `--uts`, `--net`, `--cgroupns`, `--userns`: what can be asked for, and what together. Pure.

The words are Docker's (moby: runconfig/hostconfig_unix.go, daemon/daemon_unix.go); of user namespaces it has only the
host's per container, the others are podman's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dosirak.engine.containers.documents import ContainerConfig, HostConfig
from dosirak.engine.containers.sharing.ids import USUAL_SIZE
from dosirak.engine.errors import InvalidRequest

USERNS = "dosirak.userns"
"""An annotation that says what `--userns` would: Docker's own client takes no mode but "host"."""

_PLAIN = {
    "IPC": ("", "none", "private", "shareable", "host"),
    "PID": ("", "host"),
    "UTS": ("", "host"),
    "cgroup namespace": ("", "private", "host"),
}
_AUTO = re.compile(r"auto(?::size=([1-9]\d{0,9}))?")
_LARGEST = 1 << 24
_OWN = "when user namespaces are enabled"


@dataclass(frozen=True, slots=True)
class UserMode:
    """What `--userns` asks for. `kind`: "host", "auto", "keep-id", "container"; `size` in ids; `other`: whose."""

    kind: str = "host"
    size: int = USUAL_SIZE
    other: str = ""

    @property
    def own(self) -> bool:
        """Whether it is not the host's."""
        return self.kind != "host"


def user_mode(text: str) -> UserMode:
    """`HostConfig.UsernsMode`. Raises InvalidRequest."""
    if text in ("", "host"):
        return UserMode()
    if text == "keep-id":
        return UserMode("keep-id")
    if other := target(text):
        return UserMode("container", other=other)
    match = _AUTO.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"invalid USER mode: {text}")
    size = int(match[1] or USUAL_SIZE)
    if size > _LARGEST:
        raise InvalidRequest(f"invalid USER mode: {text}: a container has {_LARGEST} user ids at most")
    return UserMode("auto", size)


def target(mode: str) -> str:
    """The container that a mode "container:NAME" names, "" for any other."""
    return mode.removeprefix("container:") if mode.startswith("container:") else ""


def targets(host: HostConfig) -> list[str]:
    """The containers whose namespaces one joins."""
    found = map(target, (host.network_mode, host.ipc_mode, host.pid_mode, host.userns_mode))
    return [name for name in found if name]


def check(config: ContainerConfig, host: HostConfig) -> None:
    """Raises InvalidRequest for an unknown mode, and for what contradicts another one."""
    asked = (host.annotations or {}).get(USERNS, "")
    host.userns_mode = host.userns_mode or asked
    for what, mode in (
        ("IPC", host.ipc_mode),
        ("PID", host.pid_mode),
        ("UTS", host.uts_mode),
        ("cgroup namespace", host.cgroupns_mode),
    ):
        if mode not in _PLAIN[what] and not (what in ("IPC", "PID") and target(mode)):
            raise InvalidRequest(f"invalid {what} mode: {mode}")
    if host.uts_mode == "host" and config.hostname:
        raise InvalidRequest("conflicting options: hostname and the UTS mode")
    if user_mode(host.userns_mode).own:
        _check_user(host)


def _check_user(host: HostConfig) -> None:
    """What is the host's can't be changed by the root of another user namespace; so Docker refuses the most of it."""
    if host.privileged:
        raise InvalidRequest(
            "privileged mode is incompatible with user namespaces. You must run the container in the host namespace"
            " when running privileged mode"
        )
    if host.network_mode == "host":
        raise InvalidRequest(f"cannot share the host's network namespace {_OWN}")
    if host.pid_mode == "host":
        raise InvalidRequest(f"cannot share the host PID namespace {_OWN}")
    if host.ipc_mode == "host":
        raise InvalidRequest(f"cannot share the host IPC namespace {_OWN}")


def check_network(config: ContainerConfig, host: HostConfig) -> None:
    """What can't be had with another container's network. Raises InvalidRequest."""
    if host.network_mode in ("container", "container:"):
        raise InvalidRequest("invalid network mode: invalid container format container:<name|id>")
    if not target(host.network_mode):
        return
    for what, used in (
        ("hostname and the network mode", config.hostname),
        ("dns and the network mode", host.dns),
        ("custom host-to-IP mapping and the network mode", host.extra_hosts),
        ("mac-address and the network mode", config.mac_address),
        ("port publishing and the container type network mode", host.port_bindings or host.publish_all_ports),
        ("port exposing and the container type network mode", config.exposed_ports),
    ):
        if used:
            raise InvalidRequest(f"conflicting options: {what}")
