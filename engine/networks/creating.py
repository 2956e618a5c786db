"""`network create`: from what was asked to a network's record, checked as Docker checks it. Pure.

Order and wording are Docker's: daemon/network.go, api/types/network/ipam.go, libnetwork/controller.go.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dosirak.engine.errors import Conflict, Forbidden, InvalidRequest, NotFound, NotSupported
from dosirak.engine.networks import addresses, options, templates
from dosirak.engine.networks.addresses import Pools
from dosirak.engine.networks.model import PREDEFINED, CreateRequest, Ipam, Network, Pool, Six

# It ends in events, file lines and messages, and must not look like a path or an option.
_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f/-][^\x00-\x20\x7f-\x9f/]*")


def check(request: CreateRequest, existing: Iterable[Network]) -> None:
    """Refuses what can be told without looking at the host. Raises Docker's errors."""
    if request.name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    if request.enable_ipv4 is False:
        if request.enable_ipv6:
            raise NotSupported("networks without IPv4 are not supported by this engine yet")
        raise InvalidRequest("IPv4 or IPv6 must be enabled")
    _check_pools(request.ipam or Ipam(), six=bool(request.enable_ipv6))
    if not request.name.strip():
        raise InvalidRequest("invalid name: name is empty")
    if not _NAME.fullmatch(request.name):
        raise InvalidRequest(f"invalid network name: {request.name!r}")
    if any(network.name == request.name for network in existing):
        raise Conflict(f"network with name {request.name} already exists")
    _check_kind(request)
    options.parse(request.options or {})


def _check_kind(request: CreateRequest) -> None:
    driver = request.driver or "bridge"
    templates.check(request)
    if request.config_only:
        return
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to'
            " swarm and try again."
        )
    if driver in ("macvlan", "ipvlan"):
        raise NotSupported(f"network driver {driver} is not supported by this engine yet")
    if driver != "bridge":
        raise NotFound(f'plugin "{driver}" not found')
    if request.ingress:
        raise Forbidden("Ingress network can only be global scope network")
    if request.scope == "swarm":
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    ipam = request.ipam.driver if request.ipam else None
    if ipam not in (None, "", "default"):
        raise NotFound(f'plugin "{ipam}" not found')


def make(
    request: CreateRequest, network_id: str, existing: Sequence[Network], used: Sequence[IPv4Network], pools: Pools
) -> Network:
    """The record. Parameters: `used`: the subnets of the host, our own bridges' among them; `pools`: what
    subnets are taken from that nobody named.

    Raises Forbidden for a subnet or a bridge's name that another network has, InvalidRequest when none is left.
    """
    if request.config_only:
        return templates.record(request, network_id)
    config_from, request = templates.source(request), templates.applied(request, existing)
    chosen = options.parse(request.options or {})
    ours = [IPv4Network(network.subnet) for network in existing if network.subnet]
    asked = _asked(request.ipam or Ipam())
    if asked is None:
        subnet, pool = addresses.choose_subnet([*ours, *used], pools), Pool()
    else:
        subnet, pool = asked
        if any(map(subnet.overlaps, ours)) or addresses.overlap(subnet, [net for net in used if net not in ours]):
            raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
    bridge = chosen.name or f"br-{network_id[:12]}"
    for network in existing:
        if network.bridge == bridge:
            raise Forbidden(f"conflicts with network {network.id} ({bridge}): networks have same bridge name")
    return Network(
        id=network_id,
        name=request.name,
        driver="bridge",
        created=time.time(),
        subnet=str(subnet),
        gateway=str(_gateway(subnet, pool)),
        fixed=asked is not None,
        ip_range=pool.ip_range or "",
        reserved=dict(pool.reserved or {}),
        bridge=bridge,
        mtu=chosen.mtu,
        config_from=config_from,
        six=_six(request, existing, pools) if request.enable_ipv6 else None,
        internal=bool(request.internal),
        attachable=bool(request.attachable),
        options=dict(request.options or {}),
        ipam_options=dict((request.ipam.options if request.ipam else None) or {}),
        labels=dict(request.labels or {}),
    )


def _asked(ipam: Ipam) -> tuple[IPv4Network, Pool] | None:
    found = [(subnet, pool) for subnet, pool in _pools(ipam) if isinstance(subnet, IPv4Network)]
    if len(found) > 1:
        raise Forbidden("bridge driver doesn't support multiple subnets")
    if found and found[0][0].prefixlen > 30:
        raise InvalidRequest(f"invalid subnet {found[0][0]}: no room for a gateway and a container")
    return found[0] if found else None


def _pools(ipam: Ipam) -> list[tuple[IPv4Network | IPv6Network, Pool]]:
    return [(ip_network(pool.subnet or "", strict=False), pool) for pool in ipam.config or ()]


def _six(request: CreateRequest, existing: Sequence[Network], pools: Pools) -> Six:
    """The IPv6 side: the asked subnet, else one of the pools'."""
    ours = [IPv6Network(network.six.subnet) for network in existing if network.six]
    found = [(one, pool) for one, pool in _pools(request.ipam or Ipam()) if isinstance(one, IPv6Network)]
    if len(found) > 1:
        raise Forbidden("bridge driver doesn't support multiple subnets")
    subnet, pool = found[0] if found else (addresses.choose_subnet6(ours, pools), Pool())
    if any(map(subnet.overlaps, ours)):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
    if subnet.prefixlen > 126:
        raise InvalidRequest(f"invalid subnet {subnet}: no room for a gateway and a container")
    return Six(str(subnet), str(_gateway(subnet, pool)), pool.ip_range or "", dict(pool.reserved or {}))


def _gateway(subnet: IPv4Network | IPv6Network, pool: Pool) -> IPv4Address | IPv6Address:
    """The asked one, else the first address of what containers may get."""
    reserved = {ip_address(address) for address in (pool.reserved or {}).values()}
    if pool.gateway:
        return ip_address(pool.gateway)
    address_of = type(subnet.network_address)
    first = max(int(ip_network(pool.ip_range).network_address) if pool.ip_range else 0, int(subnet.network_address) + 1)
    return next(address for step in range(len(reserved) + 1) if (address := address_of(first + step)) not in reserved)


def _check_pools(ipam: Ipam, six: bool) -> None:
    """Docker's ValidateIPAM: all that is wrong, at once."""
    errors: list[str] = []
    for pool in ipam.config or ():
        errors += _errors(pool, six)
    if errors:
        listed = errors[0] if len(errors) == 1 else "* " + "\n* ".join(errors)
        raise InvalidRequest(f"invalid network config:\n{listed}")


def _errors(pool: Pool, six: bool) -> list[str]:
    text = pool.subnet or ""
    try:
        subnet = ip_network(text, strict=False)
    except ValueError:
        subnet = None
    if subnet is None or "/" not in text:
        return [f"invalid subnet {text}: invalid CIDR block notation"]
    if isinstance(subnet, IPv6Network) and not six:
        return []  # IPv6 is off: its pools are looked over, as Docker does
    errors = []
    if str(subnet) != text:
        errors.append(f"invalid subnet {text}: it should be {subnet}")
    errors += _range_errors(pool.ip_range or "", subnet)
    errors.append(_address_error(f"gateway {pool.gateway}", pool.gateway or "", subnet))
    for name, address in (pool.reserved or {}).items():
        errors.append(_address_error(f"auxiliary address {name}", address, subnet))
    return [error for error in errors if error]


def _range_errors(text: str, subnet: IPv4Network | IPv6Network) -> list[str]:
    if not text:
        return []
    try:
        part = ip_network(text, strict=False)
    except ValueError:
        part = None
    if part is None or "/" not in text:
        return [f"invalid ip-range {text}: invalid CIDR block notation"]
    if part.version != subnet.version:
        return [f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"]
    errors = []
    if part.prefixlen < subnet.prefixlen:
        errors.append(f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}")
    if str(part) != text:
        errors.append(f"invalid ip-range {text}: it should be {part}")
    if not subnet.overlaps(part):
        errors.append(f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range")
    return errors


def _address_error(what: str, text: str, subnet: IPv4Network | IPv6Network) -> str:
    if not text:
        return ""
    try:
        address = ip_address(text)
    except ValueError:
        return f"invalid {what}: invalid address"
    if address.version != subnet.version:
        return f"invalid {what}: parent subnet is an IPv{subnet.version} block"
    if address not in subnet:
        return f"invalid {what}: parent subnet {subnet} doesn't contain this address"
    return ""
