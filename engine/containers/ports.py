"""Exposed and published ports: "80/tcp", "8000-8010/udp" and what `-p` and `-P` make of them. Pure."""

from __future__ import annotations

import re
from typing import Any

from dosirak.engine.containers.documents import ContainerConfig, HostConfig
from dosirak.engine.errors import InvalidRequest
from dosirak.engine.networks import model as networks

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


def parse(text: str) -> tuple[int, int, str]:
    """A port or range with its protocol: (first, last, protocol). Raises InvalidRequest."""
    match = _PORT.fullmatch(text.lower())
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if match is None or not 0 < first <= last < 65536:
        raise InvalidRequest(f'invalid port specification: "{text}"')
    return first, last, match[3] or "tcp"


def normalise(config: ContainerConfig, host: HostConfig) -> None:
    """Every published port is an exposed one; each with its protocol. Raises InvalidRequest."""
    host.port_bindings = {
        f"{port}/{protocol}": bindings
        for text, bindings in (host.port_bindings or {}).items()
        for first, last, protocol in [parse(text)]
        for port in range(first, last + 1)
    }
    exposed: dict[str, dict[str, Any] | None] = {
        f"{port}/{protocol}": {}
        for text in config.exposed_ports or ()
        for first, last, protocol in [parse(text)]
        for port in range(first, last + 1)
    }
    for text, bindings in host.port_bindings.items():
        exposed.setdefault(text, {})
        for binding in bindings or ():
            _host_range(binding.host_port)
    if exposed:
        config.exposed_ports = exposed


def _host_range(text: str) -> tuple[int, int]:
    if not text or text == "0":
        return 0, 0
    first, last, _ = parse(text)
    return first, last


def published(config: ContainerConfig, host: HostConfig) -> list[networks.PortBinding]:
    """What the networks room is to publish."""
    found = []
    bindings = host.port_bindings or {}
    for text in config.exposed_ports or ():
        port, _, protocol = parse(text)
        asked = bindings.get(text)
        for binding in asked or ():
            first, last = _host_range(binding.host_port)
            end = last if last > first else 0
            found.append(networks.PortBinding(port, protocol, binding.host_ip, first, end))
        if not asked and host.publish_all_ports:
            found.append(networks.PortBinding(port, protocol))
    return found
