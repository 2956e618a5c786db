"""The options of a bridge network (`--opt`), as Docker's bridge driver has them (drivers/bridge/labels.go)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

import msgspec

from dosirak.engine.errors import InvalidRequest, NotSupported
from dosirak.engine.go import parse_bool

_PREFIX = "com.docker.network."
_MTU = 1500
_LARGEST_MTU = 65535
_LONGEST_NAME = 15  # bytes, IFNAMSIZ less its final NUL


class BridgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say: the bridge's name ("" for one from the id), MTU in bytes, and who may do what.

    `host_ip` is where ports are published that name no address.
    """

    name: str = ""
    mtu: int = _MTU
    neighbours: bool = True
    masquerade: bool = True
    host_ip: str = "0.0.0.0"


def parse(options: Mapping[str, str]) -> BridgeOptions:
    """Reads the options; keys that are not Docker's are left alone, as Docker does.

    Raises InvalidRequest for a malformed value, NotSupported for one this engine would have to ignore.
    """
    for option, usual in (
        ("bridge.inhibit_ipv4", "false"),
        ("bridge.gateway_mode_ipv4", "nat"),
        ("bridge.gateway_mode_ipv6", "nat"),
        ("container_iface_prefix", "eth"),
        ("host_ipv4", ""),
        ("host_ipv6", ""),
        ("bridge.trusted_host_interfaces", ""),
    ):
        if options.get(_PREFIX + option, usual) not in (usual, ""):
            raise NotSupported(f"{_PREFIX}{option} is not supported by this engine yet")
    return BridgeOptions(
        name=_name(options.get(f"{_PREFIX}bridge.name", "")),
        mtu=_mtu(options),
        neighbours=_flag(options, "bridge.enable_icc"),
        masquerade=_flag(options, "bridge.enable_ip_masquerade"),
        host_ip=_address(options),
    )


def _malformed(option: str, value: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"failed to parse {_PREFIX}{option} value: {value} ({why})")


def _name(name: str) -> str:
    bad = len(name.encode()) > _LONGEST_NAME or not name.isprintable() or set(name) & set(" /:") or name in (".", "..")
    if bad:
        raise InvalidRequest(f"invalid bridge name: {name!r}: it must be an interface's name of at most 15 bytes")
    return name


def _mtu(options: Mapping[str, str]) -> int:
    value = options.get(f"{_PREFIX}driver.mtu", "")
    if not value:
        return _MTU
    if not value.removeprefix("-").isdecimal() or not value.isascii():
        raise _malformed("driver.mtu", value, f'strconv.Atoi: parsing "{value}": invalid syntax')
    number = int(value)
    if not 0 <= number <= _LARGEST_MTU:
        raise InvalidRequest(f"invalid MTU number: {number}")
    return number or _MTU


def _flag(options: Mapping[str, str], option: str) -> bool:
    value = options.get(_PREFIX + option, "true")
    found = parse_bool(value)
    if found is None:
        raise _malformed(option, value, f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return found


def _address(options: Mapping[str, str]) -> str:
    value = options.get(f"{_PREFIX}bridge.host_binding_ipv4", "")
    if not value:
        return "0.0.0.0"
    try:
        return str(ip_address(value))
    except ValueError:
        raise _malformed("bridge.host_binding_ipv4", value, "nil ip") from None
