"""Which servers stand behind a registry's domain: mirrors first, then the registry itself.

`dosirak.toml`, in the engine's data directory or where settings are looked for:

    [registries]
    insecure = ["registry.local:5000", "10.0.0.0/8"]     # plain HTTP or an unknown certificate is fine there

    [registries.mirrors]
    "docker.io" = ["http://127.0.0.1:5000"]              # asked first, without credentials; pulls only

    [registries.locations]
    "docker.io" = "127.0.0.1:5000"                       # asked instead: for a classroom without the Internet
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dosirak.engine import settings
from dosirak.engine.errors import InvalidRequest

HUB = "docker.io"
_HUB_SERVER = "registry-1.docker.io"
LOOPBACK = ("::1/128", "127.0.0.0/8")


class Registries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[registries]` of `dosirak.toml`."""

    insecure: list[str] = msgspec.field(default_factory=list)
    mirrors: dict[str, list[str]] = msgspec.field(default_factory=dict)
    locations: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server. `host`: with its port. `schemes`: to be tried in this order. `insecure`: any certificate will do."""

    host: str
    schemes: tuple[str, ...]
    insecure: bool = False
    mirror: bool = False


def read(data: Path) -> Registries:
    """The registries' settings of the engine with this data directory. Blocking. Raises InvalidRequest."""
    table: Any = settings.read_file(data / "dosirak.toml").get("registries") or settings.config_file().get("registries")
    try:
        return msgspec.convert(table or {}, Registries)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"dosirak.toml: registries: {error}") from error


def endpoints(domain: str, known: Registries, *, mirrors: bool = True) -> list[Endpoint]:
    """The servers for a domain ("docker.io", "localhost:5000"), in the order to ask them."""
    found = [_endpoint(url, known, mirror=True) for url in known.mirrors.get(domain, ())] if mirrors else []
    server = known.locations.get(domain) or (_HUB_SERVER if domain == HUB else domain)
    return [*found, _endpoint(server, known)]


def _endpoint(text: str, known: Registries, *, mirror: bool = False) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    host = (rest if separator else text).rstrip("/")
    if separator and (scheme not in ("http", "https") or "/" in host or "@" in host):
        raise InvalidRequest(f"dosirak.toml: registries: {text!r} is no URL of a server")
    insecure = (separator != "" and scheme == "http") or is_insecure(host, known.insecure)
    if separator:
        schemes: tuple[str, ...] = (scheme,)
    else:
        schemes = ("https", "http") if insecure else ("https",)
    return Endpoint(host, schemes, insecure, mirror)


def is_insecure(host: str, listed: list[str]) -> bool:
    """Whether a host ("name:port") is among the insecure ones: by name, or by its address in a network; loopback is."""
    name = bare(host)
    if host in listed or name in listed or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in map(_network, (*LOOPBACK, *listed)) if network is not None)


def is_local(host: str) -> bool:
    """Whether this names the machine itself or its link: where no registry elsewhere may send us."""
    name = bare(host)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_link_local or address.is_unspecified


def bare(host: str) -> str:
    """A host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
