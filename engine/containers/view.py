"""What `inspect` and `ps` show of a container beyond its record: networks, ports, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from dosirak.engine.containers.model import Container, EndpointSettings, Paths, PortBinding
from dosirak.engine.networks import Sandbox


def endpoints(record: Container, sandbox: Sandbox | None) -> dict[str, EndpointSettings]:
    """The networks: what was asked, and the addresses while it runs."""
    found = dict(record.networks)
    for endpoint in sandbox.endpoints if sandbox else ():
        asked = found.get(endpoint.network) or EndpointSettings()
        found[endpoint.network] = msgspec.structs.replace(
            asked,
            network_id=endpoint.network_id,
            endpoint_id=endpoint.id,
            gateway=endpoint.gateway,
            ip_address=endpoint.ip,
            ip_prefix_len=endpoint.prefix,
            ipv6_gateway=endpoint.gateway6,
            global_ipv6_address=endpoint.ip6,
            global_ipv6_prefix_len=endpoint.prefix6,
            mac_address=endpoint.mac,
            dns_names=list(endpoint.names) or None,
        )
    return found


def ports(record: Container, sandbox: Sandbox | None) -> Mapping[str, Sequence[PortBinding] | None]:
    """Exposed and published ports of a running container."""
    if sandbox is None:
        return {}
    found: dict[str, list[PortBinding] | None] = dict.fromkeys(record.config.exposed_ports or ())
    for bound in sandbox.ports:
        key = f"{bound.container_port}/{bound.protocol}"
        found[key] = [*(found.get(key) or ()), PortBinding(host_ip=bound.host_ip, host_port=str(bound.host_port))]
    return found


def paths(record: Container, bundle: Path, directory_of: Callable[[str], Path]) -> Paths:
    """Where things lie; with another container's network its three files are that one's."""
    mode = record.host_config.network_mode
    files = directory_of(mode.removeprefix("container:")) if mode.startswith("container:") else bundle
    return Paths(
        bundle=bundle,
        hosts=files / "hosts",
        hostname=files / "hostname",
        resolv_conf=files / "resolv.conf",
        log=record.log_path,
        merged=bundle / "rootfs",
        upper=bundle / "upper",
        work=bundle / "work",
    )
