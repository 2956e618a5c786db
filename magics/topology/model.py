"""The engine's `/dosirak/topology` document as plain data, cut to what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dosirak.magics.errors import DosirakError, suggestion
from dosirak.magics.look.words import Port, Ports


@dataclass(frozen=True)
class Member:
    """A container as it hangs on a network; on several it is a member of each.

    `veth` is the host's end of its pair, empty where it has none, `inner` the container's; `also`: its other networks.
    """

    id: str
    name: str
    image: str
    state: str
    status: str = ""
    pid: int = 0
    veth: str = ""
    inner: str = "eth0"
    ip: str = ""
    mac: str = ""
    also: tuple[str, ...] = ()
    ports: Ports = field(default_factory=Ports)


@dataclass(frozen=True)
class Bridge:
    """A network with a bridge, and who hangs on it."""

    name: str
    device: str
    subnet: str
    gateway: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class System:
    """All that one picture shows. `shared` use the host's network, `alone` have none, `joined` another container's."""

    host: str
    kernel: str
    bridges: tuple[Bridge, ...]
    shared: tuple[Member, ...]
    alone: tuple[Member, ...]
    joined: tuple[Member, ...]
    stopped: tuple[Member, ...]

    @property
    def running(self) -> int:
        """How many containers run."""
        wired = {member.id for bridge in self.bridges for member in bridge.members}
        return len(wired) + len(self.shared) + len(self.alone) + len(self.joined)


_LIVE = ("running", "paused", "restarting")


def read(document: Mapping[str, Any], names: Iterable[str] = ()) -> System:
    """Return the system; with `names`, only those containers and what they hang on.

    Raises DosirakError for a name that no container has.
    """
    containers = {entry["id"]: entry for entry in document.get("containers") or []}
    wanted = _wanted(containers, list(names))
    drawn: set[str] = set()
    bridges = []
    for network in document.get("networks") or []:
        if not network.get("bridge"):
            continue
        endpoints = [e for e in network.get("endpoints") or [] if e["container"] in wanted]
        known = [endpoint for endpoint in endpoints if endpoint["container"] in containers]
        drawn |= {endpoint["container"] for endpoint in known}
        members = tuple(_wired(containers[e["container"]], e, network["name"]) for e in known)
        if members or not names:
            bridges.append(_bridge(network, members))
    left = [containers[key] for key in containers if key in wanted and key not in drawn]
    live = [entry for entry in left if entry.get("state") in _LIVE]
    host = document.get("host") or {}
    return System(
        host=str(host.get("name", "")),
        kernel=str(host.get("kernel", "")),
        bridges=tuple(bridges),
        shared=tuple(_member(e) for e in live if "host" in e.get("networks", ())),
        alone=tuple(_member(e) for e in live if "none" in e.get("networks", ())),
        joined=tuple(_member(e) for e in live if not {"host", "none"} & set(e.get("networks", ()))),
        stopped=tuple(_member(e) for e in left if e.get("state") not in _LIVE),
    )


def _wanted(containers: Mapping[str, Any], names: list[str]) -> set[str]:
    if not names:
        return set(containers)
    found = set()
    for name in names:
        match = [k for k, entry in containers.items() if entry.get("name") == name or (name and k.startswith(name))]
        if not match:
            known = [str(entry.get("name", "")) for entry in containers.values()]
            raise DosirakError(f"No such container: {name}{suggestion(name, known)}")
        found |= set(match)
    return found


def _bridge(network: Mapping[str, Any], members: tuple[Member, ...]) -> Bridge:
    return Bridge(
        name=str(network.get("name", "")),
        device=str(network["bridge"]),
        subnet=str(network.get("subnet") or ""),
        gateway=str(network.get("gateway") or ""),
        members=tuple(sorted(members, key=lambda member: _address_key(member.ip))),
    )


def _address_key(ip: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ip.split("/")[0].split(".") if part.isdigit())


def _wired(container: Mapping[str, Any], endpoint: Mapping[str, Any], network: str) -> Member:
    ports = Ports(
        sorted(
            Port(
                int(port["container_port"]),
                str(port.get("host_ip") or ""),
                int(port.get("host_port") or 0),
                str(port.get("protocol") or "tcp"),
            )
            for port in endpoint.get("ports") or []
        )
    )
    return _member(
        container,
        veth=str(endpoint.get("veth") or ""),
        inner=str(endpoint.get("interface") or "eth0"),
        ip=str(endpoint.get("ip") or ""),
        mac=str(endpoint.get("mac") or ""),
        also=tuple(name for name in container.get("networks") or [] if name != network),
        ports=ports,
    )


def _member(container: Mapping[str, Any], **more: Any) -> Member:
    return Member(
        id=str(container["id"]),
        name=str(container.get("name", "")),
        image=str(container.get("image", "")),
        state=str(container.get("state", "")),
        status=str(container.get("status", "")),
        pid=int(container.get("pid") or 0),
        **more,
    )
