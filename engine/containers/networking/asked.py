"""What a request wants of networks, checked in Docker's words (moby: daemon/container_operations.go). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from dosirak.engine.containers.documents import ContainerConfig, EndpointSettings, HostConfig, NetworkingConfig
from dosirak.engine.containers.networking.parsing import parse_link
from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.networks import files, names
from dosirak.engine.networks.model import PREDEFINED, Network

SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
HOST = "cannot connect container to host network - container must be created in host network mode"


def check(endpoints: Mapping[str, EndpointSettings | None]) -> None:
    """What can be told without knowing the networks. Raises InvalidRequest, NotSupported."""
    for name, endpoint in endpoints.items():
        if endpoint is None:
            raise InvalidRequest(f"invalid config for network {name}: EndpointsConfig is nil")
        _check_named(name, endpoint)
    if len(endpoints) > 1:
        if "none" in endpoints:
            raise InvalidRequest(NONE)
        if "host" in endpoints:
            raise InvalidRequest(SHARED)


def _check_named(name: str, endpoint: EndpointSettings, network: Network | None = None) -> None:
    try:
        check_endpoint(name, endpoint, network)
    except InvalidRequest as error:
        raise InvalidRequest(f"invalid config for network {name}: {error}") from error


def check_endpoint(name: str, endpoint: EndpointSettings, network: Network | None = None) -> None:
    """One endpoint's settings. Raises InvalidRequest "invalid endpoint settings:…", NotSupported."""
    ipam = endpoint.ipam_config
    ip, ip6 = (ipam.ipv4_address, ipam.ipv6_address) if ipam else ("", "")
    errors = []
    if name in PREDEFINED:
        if ip or ip6:
            errors.append("user specified IP address is supported on user defined networks only")
        if endpoint.aliases:
            errors.append("network-scoped aliases are only supported for user-defined networks")
    if ip and (wrong := _wrong_address(ip, network)):
        errors.append(wrong)
    if ip6 and (wrong := _wrong_address6(ip6, network)):
        errors.append(wrong)
    if errors:
        listed = errors[0] if len(errors) == 1 else "* " + "\n* ".join(errors)
        raise InvalidRequest(f"invalid endpoint settings:\n{listed}")
    for alias in endpoint.aliases or ():
        files.word("network alias", alias)
    for link in endpoint.links or ():
        files.word("link", parse_link(link)[1])
    if endpoint.mac_address:
        names.parse_mac(endpoint.mac_address)
    for what, asked in (
        ("link-local addresses", ipam and ipam.link_local_ips),
        ("driver options", _meant(endpoint.driver_opts or {})),
    ):
        if asked:
            raise NotSupported(f"network {name}: {what} of an endpoint are not supported yet")


def _meant(options: Mapping[str, str]) -> list[str]:
    """The options that Docker's own drivers act on (`….endpoint.sysctls`, `….endpoint.ifname`); others say nothing."""
    return [name for name in options if name.startswith("com.docker.network.")]


def _wrong_address(text: str, network: Network | None) -> str:
    try:
        address = IPv4Address(text)
    except ValueError:
        return f"invalid IPv4 address: {text}"
    if network and network.subnet and address not in IPv4Network(network.subnet):
        return f"no configured subnet contains IP address {text}"
    return ""


def _wrong_address6(text: str, network: Network | None) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        return f"invalid IPv6 address: {text}"
    if network and (network.six is None or address not in IPv6Network(network.six.subnet)):
        return f"no configured subnet contains IP address {text}"
    return ""


def choose(
    config: ContainerConfig,
    host: HostConfig,
    networking: NetworkingConfig,
    find: Callable[[str], Network | None],
) -> dict[str, EndpointSettings]:
    """The networks of a new container by name, the main one first; none of its own with another container's.

    Parameters: `find` looks a network up by name or id. What the request names counts; without any it is the mode's.
    Raises InvalidRequest for what a network can't give.
    """
    mode = host.network_mode
    if mode.startswith("container:"):
        return {}
    asked = {}
    for name, endpoint in (networking.endpoints_config or {}).items():
        network = find(name)
        if endpoint and network:
            _check_named(name, endpoint, network)
        if endpoint:
            asked[network.name if network else name] = endpoint
    named = find(mode)
    main = named.name if named else mode
    if not asked:
        asked[main] = EndpointSettings()
    chosen = {main: asked.pop(main)} if main in asked else {}
    chosen |= asked
    if config.mac_address:
        first = next(iter(chosen))
        if chosen[first].mac_address not in ("", config.mac_address):
            raise InvalidRequest(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or"
                " be left empty"
            )
        chosen[first] = msgspec.structs.replace(chosen[first], mac_address=config.mac_address)
    return chosen
