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


class Resolver(msgspec.Struct, frozen=True):
    """What a container's name server on user networks is to do for names that are none of its neighbours'.

    `servers` are those of --dns, asked from inside the container; without any the host's own are asked from outside.
    `whole`: names of one label are not asked elsewhere (the container has set `ndots`); `tcp`: also on TCP's port 53.
    """

    servers: tuple[str, ...] = ()
    whole: bool = False
    tcp: bool = True


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container's connection to one network, as the database keeps it.

    `ip`, `gateway`, `mac` are "" and `prefix` 0 on the networks `host` and `none`; `gateway` is "" on internal networks
    too. `ip6`, `prefix6` and `gateway6` are the same of IPv6, where the network has it.
    `interface` is the name of the veth's host end, `inner` that of its other end; `name` is the container's name,
    `hostname` what it calls itself, `names` all by which its neighbours' resolvers know it, the first of them the
    answer to "who has this address". `links`: names of its own for neighbours. `priority`: the one with the highest
    becomes the way out.
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
    ip6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    mac: str = ""
    interface: str = ""
    inner: str = "eth0"
    names: tuple[str, ...] = ()
    links: dict[str, str] = msgspec.field(default_factory=dict)
    priority: int = 0
    resolver: Resolver = Resolver()
    ports: tuple[BoundPort, ...] = ()


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """What a container wants of one network; "" is "any". See `Endpoint` for `names`, `links` and `priority`."""

    network: str
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    names: tuple[str, ...] = ()
    links: dict[str, str] = msgspec.field(default_factory=dict)
    priority: int = 0


class Pool(msgspec.Struct, frozen=True, rename={"subnet": "Subnet", "ip_range": "IPRange", "gateway": "Gateway"}):
    """One subnet as asked for by `POST /networks/create`."""

    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None
    reserved: dict[str, str] | None = msgspec.field(default=None, name="AuxiliaryAddresses")


class Ipam(msgspec.Struct, frozen=True, rename="pascal"):
    """Where the addresses come from, as asked for."""

    driver: str | None = None
    options: dict[str, str] | None = None
    config: list[Pool] | None = None


class ConfigFrom(msgspec.Struct, frozen=True, rename="pascal"):
    """A network to take the configuration from."""

    network: str | None = None


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The body of `POST /networks/create`, as API 1.51 has it."""

    name: str = ""
    driver: str | None = None
    scope: str | None = None
    enable_ipv4: bool | None = msgspec.field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = msgspec.field(default=None, name="EnableIPv6")
    ipam: Ipam | None = msgspec.field(default=None, name="IPAM")
    internal: bool | None = None
    attachable: bool | None = None
    ingress: bool | None = None
    config_only: bool | None = None
    config_from: ConfigFrom | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class Six(msgspec.Struct, frozen=True):
    """The IPv6 side of a network; the fields as `Network` has them."""

    subnet: str
    gateway: str
    ip_range: str = ""
    reserved: dict[str, str] = msgspec.field(default_factory=dict)


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network as `docker network inspect` shows it. `created` is unix time in seconds.

    `fixed`: somebody asked for this very subnet, so it is never exchanged for another; `ip_range` is the part of it
    that containers get, `reserved` what none gets, by name. `template`: it only says how others are to be
    made, `config_from` from which such one it was. `endpoints` are those of running containers only (as Docker shows
    `Containers`).
    """

    id: str
    name: str
    driver: str
    created: float
    subnet: str = ""
    gateway: str = ""
    fixed: bool = False
    ip_range: str = ""
    reserved: dict[str, str] = msgspec.field(default_factory=dict)
    bridge: str = ""
    mtu: int = 1500
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    six: Six | None = None
    template: CreateRequest | None = None
    config_from: str = ""
    options: dict[str, str] = msgspec.field(default_factory=dict)
    ipam_options: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    endpoints: tuple[Endpoint, ...] = ()

    @property
    def enable_ipv6(self) -> bool:
        """Whether its containers have IPv6 addresses too."""
        return self.six is not None or bool(self.template and self.template.enable_ipv6)


class Sandbox(msgspec.Struct, frozen=True):
    """A container's network, ready to be joined.

    `netns_fd` goes into `Launch.join["network"]`; it is None on the network `host` (nothing to join: the container
    stays in the engine's namespace). It stays open, and belongs to the networks room, until `Networks.disconnect`.
    `endpoints` are in the order of their making; none are left when a running container has left its last network.
    `named`: a name server answers inside. `nameserver`: what is asked instead of a resolver on the host's loopback,
    where that is out of reach ("": nothing).
    """

    id: str
    netns_fd: int | None
    endpoints: tuple[Endpoint, ...]
    named: bool = False
    nameserver: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """The connection that was made first."""
        return self.endpoints[0]

    @property
    def ports(self) -> tuple[BoundPort, ...]:
        """All published ports."""
        return tuple(port for endpoint in self.endpoints for port in endpoint.ports)
