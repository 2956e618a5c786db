"""Links, addresses and routes: each function is one rtnetlink message (linux/if_link.h, if_addr.h, rtnetlink.h)."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface

import msgspec

from dosirak.engine.networks.netlink import NLM_F_CREATE_EXCL, NLM_F_CREATE_REPLACE, Netlink, attribute, attributes

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_DELNEIGH = 29

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_OPERSTATE, _IFLA_IFALIAS, _IFLA_NET_NS_FD, _IFLA_EXT_MASK = 16, 20, 28, 29
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_IFLA_BRPORT_STATE, _IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 1, 4, 33
_IF_OPER_UP, _BR_STATE_FORWARDING = b"\6", b"\3"
_IFLA_BR_FORWARD_DELAY, _IFLA_BR_STP_STATE = 1, 5
_VETH_INFO_PEER = 1
_RTEXT_FILTER_SKIP_STATS = 8
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1
_NDA_DST = 1

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_U32 = struct.Struct("=I")

LOOPBACK = 1


class Link(msgspec.Struct, frozen=True):
    """A link as the kernel lists it; `master` is the index of the bridge it is a port of, or 0."""

    index: int
    name: str
    kind: str
    master: int
    alias: str
    mac: str


def index_of(name: str) -> int | None:
    """The index of this link in the calling thread's network namespace, or None."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def create_bridge(netlink: Netlink, name: str, mac: str, mtu: int) -> None:
    """A bridge that forwards at once (no spanning tree, no forward delay).

    With an address of its own: a bridge without one takes its lowest port's, so its MAC would change, and its
    neighbours' ARP entries go stale, as containers come and go.
    """
    data = attribute(_IFLA_BR_FORWARD_DELAY, _U32.pack(0)) + attribute(_IFLA_BR_STP_STATE, _U32.pack(0))
    body = _named(name) + attribute(_IFLA_ADDRESS, _mac(mac)) + attribute(_IFLA_MTU, _U32.pack(mtu))
    netlink.request(_RTM_NEWLINK, _IFINFO.pack(0, 0, 0, 0, 0) + body + _info(b"bridge", data), NLM_F_CREATE_EXCL)


def set_alias(netlink: Netlink, index: int, alias: str) -> None:
    """A link's free text (`ip link` shows it). The kernel takes none at creation: rtnl_create_link."""
    netlink.request(_RTM_NEWLINK, _IFINFO.pack(0, 0, index, 0, 0) + attribute(_IFLA_IFALIAS, alias.encode()))


def create_veth(
    netlink: Netlink, name: str, mtu: int, peer: str, peer_mac: str, peer_namespace: int
) -> tuple[int, int]:
    """A veth pair whose other end is born inside `peer_namespace`, with its final name and MAC, both ends down.

    Returns the two indices: of this end here, of the other end there.
    """
    size = attribute(_IFLA_MTU, _U32.pack(mtu))
    other = _IFINFO.pack(0, 0, 0, 0, 0) + _named(peer) + attribute(_IFLA_ADDRESS, _mac(peer_mac)) + size
    other += attribute(_IFLA_NET_NS_FD, _U32.pack(peer_namespace))
    body = _IFINFO.pack(0, 0, 0, 0, 0) + _named(name) + size + _info(b"veth", attribute(_VETH_INFO_PEER, other))
    netlink.request(_RTM_NEWLINK, body, NLM_F_CREATE_EXCL)
    reply = netlink.query(_RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + _named(name))
    return _IFINFO.unpack_from(reply)[2], _U32.unpack(attributes(reply, _IFINFO.size)[_IFLA_LINK])[0]


def set_up(netlink: Netlink, index: int, master: int | None = None) -> None:
    """Brings a link up, as a port of the bridge `master` if given."""
    body = attribute(_IFLA_MASTER, _U32.pack(master)) if master is not None else b""
    netlink.request(_RTM_NEWLINK, _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP) + body)


def reflect(netlink: Netlink, index: int) -> None:
    """Hairpin mode: the bridge may send a frame back out of the port it came in by."""
    _set_port(netlink, index, _IFLA_BRPORT_MODE)


def isolate(netlink: Netlink, index: int) -> None:
    """The bridge carries nothing between ports that are isolated; to and from the bridge itself all passes."""
    _set_port(netlink, index, _IFLA_BRPORT_ISOLATED)


def _set_port(netlink: Netlink, index: int, flag: int) -> None:
    mode = attribute(_IFLA_INFO_SLAVE_KIND, b"bridge")
    mode += attribute(_IFLA_INFO_SLAVE_DATA, attribute(flag, b"\1"))
    netlink.request(_RTM_NEWLINK, _IFINFO.pack(0, 0, index, 0, 0) + attribute(_IFLA_LINKINFO, mode))


def wait_carrying(netlink: Netlink, *indices: int) -> None:
    """Returns when packets pass these links, or after a second at the latest.

    A link's carrier takes effect only when the kernel's link watch work has run, which may have to wait for the link
    lock; until then what is sent is lost: mostly the question for a MAC, which is repeated after a second only. Since
    Linux 6.9 asking for a link makes the work run at once (rtnl_getlink); before, one has to ask again.
    """
    deadline = time.monotonic() + 1
    for index in indices:
        while not _carries(netlink, index) and time.monotonic() < deadline:
            time.sleep(0.001)


def _carries(netlink: Netlink, index: int) -> bool:
    """Whether a link's carrier has been noticed and, if it is a bridge's port, the bridge forwards to it."""
    found = attributes(netlink.query(_RTM_GETLINK, _IFINFO.pack(0, 0, index, 0, 0)), _IFINFO.size)
    port = attributes(attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_SLAVE_DATA, b""))
    up = found.get(_IFLA_OPERSTATE) == _IF_OPER_UP
    return up and port.get(_IFLA_BRPORT_STATE, _BR_STATE_FORWARDING) == _BR_STATE_FORWARDING


def detach(netlink: Netlink, index: int) -> None:
    """Takes a port down and off its bridge: from then on nothing behind it can be heard (0.3 ms; deleting takes 30)."""
    netlink.request(_RTM_NEWLINK, _IFINFO.pack(0, 0, index, 0, _IFF_UP) + attribute(_IFLA_MASTER, _U32.pack(0)))


def delete(netlink: Netlink, index: int) -> None:
    """Deletes a link, and a veth's other end; gone already is fine. Takes 20–40 ms (RCU grace periods)."""
    try:
        netlink.request(_RTM_DELLINK, _IFINFO.pack(0, 0, index, 0, 0))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def add_address(netlink: Netlink, index: int, address: IPv4Interface) -> None:
    """Gives a link an address, its subnet's route and broadcast address with it."""
    packed = address.ip.packed
    body = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    header = _IFADDR.pack(socket.AF_INET, address.network.prefixlen, 0, 0, index)
    netlink.request(_RTM_NEWADDR, header + body, NLM_F_CREATE_EXCL)


def add_address6(netlink: Netlink, index: int, address: IPv6Interface) -> None:
    """Gives a link an IPv6 address that is used at once: it is nobody else's, so duplicates are not looked for."""
    body = attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
    header = _IFADDR.pack(socket.AF_INET6, address.network.prefixlen, _IFA_F_NODAD, 0, index)
    netlink.request(_RTM_NEWADDR, header + body, NLM_F_CREATE_REPLACE)


def _default_route(family: int) -> bytes:
    return _RTMSG.pack(family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0)


def replace_default_route(netlink: Netlink, index: int, gateway: IPv4Address | IPv6Address) -> None:
    """The default route of its family goes through `gateway` on this link, whatever it was before."""
    body = attribute(_RTA_GATEWAY, gateway.packed) + attribute(_RTA_OIF, _U32.pack(index))
    family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
    netlink.request(_RTM_NEWROUTE, _default_route(family) + body, NLM_F_CREATE_REPLACE)


def delete_default_route(netlink: Netlink, family: int = socket.AF_INET) -> None:
    """No default route; none there is fine."""
    try:
        netlink.request(_RTM_DELROUTE, _default_route(family))
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def forget_neighbour(netlink: Netlink, index: int, address: IPv4Address | IPv6Address) -> None:
    """Drops the host's entry of an address, so that its next owner, of whatever MAC, is asked afresh."""
    try:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        header = _NDMSG.pack(family, index, 0, 0, 0)
        netlink.request(_RTM_DELNEIGH, header + attribute(_NDA_DST, address.packed))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def list_links(netlink: Netlink) -> Iterator[Link]:
    """Every link of the socket's namespace."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, _U32.pack(_RTEXT_FILTER_SKIP_STATS))
    for reply in netlink.dump(_RTM_GETLINK, body):
        found = attributes(reply, _IFINFO.size)
        info = attributes(found.get(_IFLA_LINKINFO, b""))
        master = found.get(_IFLA_MASTER)
        yield Link(
            index=_IFINFO.unpack_from(reply)[2],
            name=_text(found.get(_IFLA_IFNAME, b"")),
            kind=_text(info.get(_IFLA_INFO_KIND, b"")),
            master=_U32.unpack(master)[0] if master else 0,
            alias=_text(found.get(_IFLA_IFALIAS, b"")),
            mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        )


def list_addresses(netlink: Netlink) -> Iterator[tuple[int, IPv4Interface]]:
    """Every IPv4 address of the socket's namespace, with its link's index."""
    for reply in netlink.dump(_RTM_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, index = _IFADDR.unpack_from(reply)
        found = attributes(reply, _IFADDR.size)
        packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
        if packed:
            yield index, IPv4Interface((packed, prefix))


def list_routes(netlink: Netlink) -> Iterator[tuple[int, IPv4Network]]:
    """The IPv4 destinations routed in any table, with the index of the link they leave by; default routes left out."""
    for reply in netlink.dump(_RTM_GETROUTE, _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        prefix = _RTMSG.unpack_from(reply)[1]
        found = attributes(reply, _RTMSG.size)
        if prefix and _RTA_DST in found:
            link = found.get(_RTA_OIF)
            yield (_U32.unpack(link)[0] if link else 0), IPv4Network((found[_RTA_DST], prefix))


def _named(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _info(kind: bytes, data: bytes) -> bytes:
    return attribute(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, kind) + attribute(_IFLA_INFO_DATA, data))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
