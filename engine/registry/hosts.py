"""Which servers stand behind a name: mirrors, then the registry (`configuration` says where from)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dosirak.engine.errors import Forbidden, InvalidRequest
from dosirak.engine.registry.configuration import Mirror, Registries, Rule

HUB = "docker.io"
HUB_SERVER = "registry-1.docker.io"
LOOPBACK = ("::1/128", "127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server. `host`: with its port. `schemes`: to be tried in this order. `insecure`: any certificate will do.

    `anonymous`: another server than the name says, which gets no credentials.
    """

    host: str
    schemes: tuple[str, ...]
    insecure: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A repository ("library/ubuntu") at a server."""

    endpoint: Endpoint
    repository: str


def places(domain: str, path: str, known: Registries, *, digest: bool = False) -> list[Place]:
    """Where to pull the image of this domain and path from, in the order to ask.

    Parameters: `digest`: it is wanted by digest. Raises Forbidden for what is blocked, InvalidRequest.
    """
    if domain in known.mirrors or domain in known.locations:
        mirrors = [Place(_endpoint(url, known, anonymous=True), path) for url in known.mirrors.get(domain, ())]
        return [*mirrors, registry(domain, path, known)]
    rule = _rule(domain, path, known)
    if rule is None:
        return [registry(domain, path, known)]
    chosen = [mirror for mirror in rule.mirror if _serves(mirror, rule, digest)]
    rest = _below(rule, domain, path)
    mirrors = [_located(mirror.location + rest, known, mirror.insecure, anonymous=True) for mirror in chosen]
    return [*mirrors, registry(domain, path, known)]


def registry(domain: str, path: str, known: Registries) -> Place:
    """The registry itself: where to push to, and to log in (with the path ""). Raises Forbidden, InvalidRequest."""
    if server := known.locations.get(domain):
        return Place(_endpoint(server, known), path)
    rule = _rule(domain, path, known)
    if rule is not None and rule.blocked:
        raise Forbidden(f"registry {rule.prefix} is blocked in {rule.source}")
    if rule is None or not rule.location or rule.location == rule.prefix:
        server = HUB_SERVER if domain == HUB else domain
        return Place(_endpoint(server, known, insecure=rule is not None and rule.insecure), path)
    elsewhere = rule.location.partition("/")[0] != domain
    return _located(rule.location + _below(rule, domain, path), known, rule.insecure, anonymous=elsewhere)


def _rule(domain: str, path: str, known: Registries) -> Rule | None:
    """The rule with the longest prefix of the name."""
    matching = [rule for rule in known.rules if _matches(rule.prefix, domain, path)]
    return max(matching, key=lambda rule: len(rule.prefix), default=None)


def _matches(prefix: str, domain: str, path: str) -> bool:
    if prefix.startswith("*."):
        return domain.partition(":")[0].endswith(prefix[1:])
    return f"{domain}/{path}/".startswith(f"{prefix.rstrip('/')}/")


def _below(rule: Rule, domain: str, path: str) -> str:
    """What stands behind the rule's prefix in a name: "" or "/…"."""
    if rule.prefix.startswith("*."):
        return f"/{path}" if path else ""
    return f"{domain}/{path}".rstrip("/")[len(rule.prefix.rstrip("/")) :]


def _serves(mirror: Mirror, rule: Rule, digest: bool) -> bool:
    if rule.by_digest_only and not digest:
        return False
    return mirror.wanted in ("all", "digest-only" if digest else "tag-only")


def _located(location: str, known: Registries, insecure: bool, *, anonymous: bool = False) -> Place:
    """A place of registries.conf: "host:port/path"."""
    host, _, path = location.partition("/")
    server = HUB_SERVER if host == HUB else host
    return Place(_endpoint(server, known, anonymous=anonymous, insecure=insecure), path)


def _endpoint(text: str, known: Registries, *, anonymous: bool = False, insecure: bool = False) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    host = (rest if separator else text).rstrip("/")
    if not host or "/" in host or "@" in host or (separator and scheme not in ("http", "https")):
        raise InvalidRequest(f"registries: {text[:200]!r} is no URL of a server")
    insecure = insecure or scheme == "http" or is_insecure(host, known.insecure)
    if separator:
        schemes: tuple[str, ...] = (scheme,)
    else:
        schemes = ("https", "http") if insecure else ("https",)
    return Endpoint(host, schemes, insecure, anonymous)


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
