"""From a container's record to what the networks room is asked for."""

from __future__ import annotations

from contextlib import AsyncExitStack

from dosirak.engine.containers import ports
from dosirak.engine.containers.documents import EndpointSettings
from dosirak.engine.containers.model import Container
from dosirak.engine.containers.networking.parsing import parse_link
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import EngineError
from dosirak.engine.networks import Join, Resolver, Sandbox, files
from dosirak.engine.networks.model import PREDEFINED


async def join(room: Room, record: Container, undo: AsyncExitStack, namespace: int | None) -> Sandbox | None:
    """Connect a container that starts to its networks; None with another's. Raises the networks room's errors.

    Parameters: `namespace`: a descriptor of the network namespace that it is to have, or None.
    """
    if record.host_config.network_mode.startswith("container:"):
        return None
    try:
        sandbox = await room.networks.join(
            record.id,
            record.name,
            [request(record, name, settings) for name, settings in record.networks.items()],
            ports=ports.published(record.config, record.host_config),
            hostname=record.config.hostname,
            resolver=resolver(record) if any(name not in PREDEFINED for name in record.networks) else Resolver(),
            namespace=namespace,
        )
    except EngineError as error:
        raise type(error)(f"failed to set up container networking: {_lost(room, record) or error}") from error
    undo.push_async_callback(room.networks.disconnect, record.id)
    for endpoint in sandbox.endpoints:
        remember(record, endpoint.network, endpoint.network_id)
    return sandbox


def _lost(room: Room, record: Container) -> str:
    """What to do about a network whose record could not be read; "" when it is something else."""
    for name, settings in record.networks.items():
        if room.networks.lost(settings.network_id):
            return (
                f"network {name} not found: its record was damaged; make it again if there is none of this name, then"
                f" `docker network disconnect -f {name} {record.name}`"
                f" and `docker network connect {name} {record.name}`"
            )
    return ""


def remember(record: Container, network: str, network_id: str) -> None:
    """From now on this very network is meant, not the next one of its name."""
    settings = record.networks.get(network)
    if settings is not None:
        settings.network_id = network_id


def request(record: Container, name: str, settings: EndpointSettings) -> Join:
    """What a container wants of one of its networks."""
    own = name not in PREDEFINED
    return Join(
        network=(settings.network_id if own else "") or name,
        ip=settings.ipam_config.ipv4_address if settings.ipam_config else "",
        ip6=settings.ipam_config.ipv6_address if settings.ipam_config else "",
        mac=settings.mac_address,
        names=dns_names(record, settings) if own else (),
        links={alias: target for target, alias in map(parse_link, settings.links or ())} if own else {},
        priority=settings.gw_priority,
    )


def resolver(record: Container) -> Resolver:
    """What the container's name server is to do for names outside. One that serves names itself keeps TCP port 53."""
    host = record.host_config
    exposed = {f"53/{protocol}" for protocol in ("tcp", "udp")} & set(record.config.exposed_ports or ())
    return files.resolver(files.read_resolv_conf(), dns=host.dns or (), options=host.dns_options or (), tcp=not exposed)


def dns_names(record: Container, settings: EndpointSettings) -> tuple[str, ...]:
    """The names a container has on a network of somebody's own; the first stands for its address."""
    every = [record.name, *(settings.aliases or ()), record.short_id, record.config.hostname]
    return tuple(dict.fromkeys(filter(None, every)))


def names_by_network(record: Container) -> dict[str, tuple[str, ...]]:
    """The same, for each of its networks by id."""
    own = {name: settings for name, settings in record.networks.items() if name not in PREDEFINED}
    return {settings.network_id: dns_names(record, settings) for settings in own.values()}
