"""What `inspect` and `ps` show of a container beyond its record: networks, ports, places, sizes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from dosirak.engine.containers.model import Container, EndpointSettings, Paths, PortBinding
from dosirak.engine.containers.room import Room
from dosirak.engine.errors import EngineError
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


async def size(room: Room, record: Container) -> tuple[int, int]:
    """Bytes in the upper directory, and together with the image's."""
    writable = await asyncio.to_thread(_disk_use, room.directory(record.id) / "upper")
    try:
        image = (await room.images.resolve(record.image)).size
    except EngineError:
        image = 0  # removed by force
    return writable, writable + image


def _disk_use(root: Path) -> int:
    """The sizes of the regular files below, each hard-linked one once."""
    total, seen = 0, set()
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                info = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            key = (info.st_dev, info.st_ino)
            if info.st_nlink == 1 or key not in seen:
                seen.add(key)
                total += info.st_size
    return total
