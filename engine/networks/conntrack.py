"""Connection tracking: forgetting what the kernel remembers of published UDP ports (linux nfnetlink_conntrack.h).

A UDP "connection" lives as long as somebody sends. One that was translated to a container that has gone would go on
being sent there, or to whoever has that address next; one that began before a port was published would go on by it.
TCP needs no such care: it ends, and begins anew, by itself.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable

from dosirak.engine.networks.netlink import Netlink, attribute, attributes
from dosirak.engine.networks.rules import ANY, ANY6, PROTOCOLS, Publication

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_GET, _DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
_CTA_TUPLE_ORIG, _CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 1, 2
_CTA_IP_V4_DST, _CTA_IP_V6_DST = 2, 4
_CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 1, 3
_NLA_F_NESTED = 0x8000
_NFGENMSG = struct.Struct("=BBH")
_FAMILIES = {"ip": _NFGENMSG.pack(socket.AF_INET, 0, 0), "ip6": _NFGENMSG.pack(socket.AF_INET6, 0, 0)}


def forget(publications: Iterable[Publication]) -> None:
    """Forget all flows to these ports that are UDP. A host without connection tracking has none."""
    every = [one for one in publications if one.protocol == PROTOCOLS["udp"]]
    for family in dict.fromkeys(one.family for one in every):
        wanted = {
            (one.host_port.to_bytes(2, "big"), b"" if one.host_ip in (ANY, ANY6) else one.host_ip.packed)
            for one in every
            if one.family == family
        }
        _forget(wanted, _FAMILIES[family])


def _forget(wanted: set[tuple[bytes, bytes]], family: bytes) -> None:
    try:
        netlink = Netlink(_NETLINK_NETFILTER)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return
        raise
    with netlink:
        found = [flow for reply in netlink.dump(_GET, family) if (flow := _original(reply)) and _goes_to(flow, wanted)]
        for flow in found:
            try:
                netlink.request(_DELETE, family + attribute(_CTA_TUPLE_ORIG | _NLA_F_NESTED, flow))
            except OSError as error:
                if error.errno != errno.ENOENT:  # it has ended by itself
                    raise


def _original(reply: bytes) -> bytes | None:
    """How a flow looked before it was translated."""
    return attributes(reply, _NFGENMSG.size).get(_CTA_TUPLE_ORIG)


def _goes_to(flow: bytes, wanted: set[tuple[bytes, bytes]]) -> bool:
    parts = attributes(flow)
    protocol = attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    if protocol.get(_CTA_PROTO_NUM) != bytes((PROTOCOLS["udp"],)):
        return False
    port = protocol.get(_CTA_PROTO_DST_PORT, b"")
    ip = attributes(parts.get(_CTA_TUPLE_IP, b""))
    address = ip.get(_CTA_IP_V4_DST) or ip.get(_CTA_IP_V6_DST, b"")
    return (port, b"") in wanted or (port, address) in wanted
