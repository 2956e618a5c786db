"""What the networks room hands to others: plain data, no machinery.

Words as in libnetwork: a *sandbox* is a container's network namespace, an *endpoint* its connection to one network.
"""

from __future__ import annotations

import msgspec

PREDEFINED = ("bridge", "host", "none")


class PortBinding(msgspec.Struct, frozen=True):
    """One published port as asked for (`-p [host_ip:][host_port[-host_port_end]:]container_port[/protocol]`).

    `host_ip` "" means every IPv4 address; `host_port` 0 means any free one from the host's ephemeral range;
    with `host_port_end` the first free one of the range is taken.
    """

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


class BoundPort(msgspec.Struct, frozen=True):
    """A published port as it is: `host_ip`:`host_port` leads to `container_port`."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container's connection to one network, as the database keeps it.

    `ip`, `gateway`, `mac` are "" and `prefix` 0 on the networks `host` and `none`. `interface` is the name of the
    veth's host end, `name` the container's name, `hostname` what it calls itself.
    """

    id: str
    sandbox_id: str
    container: str
    name: str
    network_id: str
    network: str
    hostname: str = ""
    ip: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    interface: str = ""
    ports: tuple[BoundPort, ...] = ()


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network as `docker network inspect` shows it. `created` is unix time in seconds.

    `endpoints` are those of running containers only (as Docker shows `Containers`).
    """

    id: str
    name: str
    driver: str
    created: float
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    mtu: int = 1500
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    enable_ipv6: bool = False
    options: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()


class Sandbox(msgspec.Struct, frozen=True):
    """A container's network, ready to be joined.

    `netns_fd` goes into `Launch.join["network"]`; it is None on the network `host` (nothing to join: the container
    stays in the engine's namespace). It stays open, and belongs to the networks room, until `Networks.disconnect`.
    """

    id: str
    netns_fd: int | None
    endpoint: Endpoint
