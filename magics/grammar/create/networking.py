"""`--network`, `--network-alias`, `--link`, `--ip`, `--mac-address`: which networks, and as what on each."""

from __future__ import annotations

import csv
import re
from ipaddress import ip_address
from typing import Any

from dosirak.magics.grammar.values import parse_int

_LONG = re.compile(r"\w+=\w+(,\w+=\w+)*")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}")
_ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}


def parse_network(text: str) -> dict[str, Any]:
    """Return {"name", "alias", …} of one `--network` value, short (`host`) or long (`name=web,alias=db,ip=…`)."""
    if not _LONG.search(text):
        return {"name": text}
    found: dict[str, Any] = {"name": ""}
    for field in next(csv.reader([text.lower()], strict=True)):
        key, equals, value = (part.strip() for part in field.partition("="))
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        match key:
            case "name" | "mac-address":
                found[key] = value
            case "alias":
                found.setdefault("alias", []).append(value)
            case "ip" | "ip6" | "link-local-ip":
                _add_address(found, key, value)
            case "driver-opt":
                option, equals, setting = (part.strip() for part in value.partition("="))
                if not equals or not option:
                    raise ValueError("invalid key value pair format in driver options")
                found.setdefault("driver-opt", {})[option] = setting
            case "gw-priority":
                found[key] = _priority(value)
            case _:
                raise ValueError(f"invalid field key {key}")
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


def _add_address(found: dict[str, Any], key: str, value: str) -> None:
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(f'ParseAddr("{value}"): unable to parse IP') from None
    if key == "link-local-ip":
        found.setdefault(key, []).append(value)
    else:
        found[key] = value


def _priority(value: str) -> int:
    try:
        return parse_int(value)
    except ValueError:
        raise ValueError(f"invalid gw-priority: {value}") from None


def network_mode(networks: list[dict[str, Any]]) -> str:
    """Return HostConfig.NetworkMode: the first network, or "default"."""
    return networks[0]["name"] if networks else "default"


def endpoints(networks: list[dict[str, Any]], flags: dict[str, Any]) -> dict[str, Any]:
    """Return NetworkingConfig.EndpointsConfig; the old flags (`--ip`, …) belong to the first network."""
    mac = flags.get("mac_address") or ""
    if mac and not _MAC.fullmatch(mac.strip()):
        raise ValueError(f"{mac} is not a valid mac address")
    found: dict[str, Any] = {}
    for position, network in enumerate(networks or [{"name": "default"}]):
        name = network["name"]
        if position == 0:
            network = _with_flags(network, flags)
        endpoint = _endpoint(network)
        if name in found:
            raise ValueError(f'network "{name}" is specified multiple times')
        if len(networks) == 1 and endpoint == _ENDPOINT:
            continue  # the engine makes it from NetworkMode
        found[name] = endpoint
    if len({_user_defined(network["name"]) for network in networks}) > 1:
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    return found


def _with_flags(network: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    given = {
        "alias": list(flags.get("network_alias") or ()),
        "ip": flags.get("ip") or "",
        "ip6": flags.get("ip6") or "",
        "mac-address": flags.get("mac_address") or "",
        "link-local-ip": list(flags.get("link_local_ip") or ()),
    }
    words = {
        "alias": "--network-alias and per-network alias",
        "ip": "--ip and per-network IPv4 address",
        "ip6": "--ip6 and per-network IPv6 address",
        "mac-address": "--mac-address and per-network MAC address",
        "link-local-ip": "--link-local-ip and per-network link-local IP addresses",
    }
    result = dict(network)
    for key, value in given.items():
        if value and network.get(key):
            raise ValueError(f"conflicting options: cannot specify both {words[key]}")
        if value:
            result[key] = value
    if flags.get("link") and _user_defined(network["name"]):
        result["links"] = list(flags["link"])
    return result


def _endpoint(network: dict[str, Any]) -> dict[str, Any]:
    name = network["name"]
    if not name.strip():
        raise ValueError("no name set for network")
    if not _user_defined(name) and network.get("alias"):
        raise ValueError("network-scoped aliases are only supported for user-defined networks")
    endpoint = dict(_ENDPOINT)
    addresses = {
        field: network[key]
        for field, key in (("IPv4Address", "ip"), ("IPv6Address", "ip6"), ("LinkLocalIPs", "link-local-ip"))
        if network.get(key)
    }
    if addresses:
        endpoint["IPAMConfig"] = addresses
    endpoint["Aliases"] = network.get("alias") or None
    endpoint["Links"] = network.get("links")
    endpoint["DriverOpts"] = network.get("driver-opt")
    endpoint["GwPriority"] = network.get("gw-priority", 0)
    endpoint["MacAddress"] = network.get("mac-address", "")
    if endpoint["MacAddress"] and not _MAC.fullmatch(endpoint["MacAddress"]):
        raise ValueError(f"{endpoint['MacAddress']} is not a valid mac address")
    return endpoint


def _user_defined(name: str) -> bool:
    return name not in ("default", "bridge", "host", "none") and not name.startswith("container:")
