"""`-p` and `--expose`: [address:][host port[-end]:]container port[-end][/protocol] (go-connections, nat)."""

from __future__ import annotations

from ipaddress import ip_address

from dosirak.magics.grammar.values import parse_uint

Bindings = dict[str, list[dict[str, str]]]


def parse_published(specs: list[str]) -> tuple[dict[str, dict[str, str]], Bindings]:
    """Return (ExposedPorts, PortBindings) of all `-p` values; raises ValueError in Docker's words."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: Bindings = {}
    for spec in specs:
        for port, binding in _parse_one(_short_notation(spec)):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    return exposed, bindings


def parse_exposed(specs: list[str]) -> list[str]:
    """Return the ports ("80/tcp") of all `--expose` values."""
    ports: list[str] = []
    for spec in specs:
        if ":" in spec:
            raise ValueError(f"invalid port format for --expose: {spec}")
        numbers, protocol = _split_protocol(spec)
        try:
            start, end = _range(numbers)
        except ValueError as error:
            raise ValueError(f"invalid range format for --expose: {numbers}, error: {error}") from error
        ports += [f"{port}/{protocol}" for port in range(start, end + 1)]
    return ports


def _short_notation(spec: str) -> str:
    """Return the short form of `published=8080,target=80,protocol=udp`."""
    if "=" not in spec:
        return spec
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for field in spec.split(","):
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{field}')")
        fields[name] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _parse_one(spec: str) -> list[tuple[str, dict[str, str]]]:
    head, _, container = spec.rpartition(":")
    address, _, host = head.rpartition(":")
    numbers, protocol = _split_protocol(container)
    if not numbers:
        raise ValueError(f"no port specified: {spec}<empty>")
    if protocol.lower() not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
    address = _parse_address(address)
    start, end = _named_range(numbers, "containerPort")
    first, last = _named_range(host, "hostPort") if host else (0, 0)
    count = end - start + 1
    if host and last - first != end - start and count != 1:
        raise ValueError(f"invalid ranges specified for container and host Ports: {numbers} and {host}")
    ports = []
    for offset in range(count):
        host_port = str(first + offset) if host else ""
        if count == 1 and first != last:
            host_port += f"-{last}"  # any free one of that range
        ports.append((f"{start + offset}/{protocol.lower()}", {"HostIp": address, "HostPort": host_port}))
    return ports


def _split_protocol(text: str) -> tuple[str, str]:
    numbers, _, protocol = text.partition("/")
    return numbers, protocol or "tcp"


def _parse_address(text: str) -> str:
    address = text
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address:
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f"invalid IP address: {address}") from None
    return address


def _named_range(text: str, what: str) -> tuple[int, int]:
    try:
        return _range(text)
    except ValueError:
        raise ValueError(f"invalid {what}: {text}") from None


def _range(text: str) -> tuple[int, int]:
    if not text:
        raise ValueError("empty string specified for ports")
    low, dash, high = text.partition("-")
    start = parse_uint(low)
    end = parse_uint(high) if dash else start
    for port in (low, high):
        if port and int(port) > 65535:
            raise ValueError(f'strconv.ParseUint: parsing "{port}": value out of range')
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end
