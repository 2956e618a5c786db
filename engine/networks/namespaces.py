"""Network namespaces: made, connected and let go, on the network thread.

A thread may leave its network namespace for a new one and come back (setns(2)); the namespace lives on as long as a
descriptor or a process holds it. Measured (2 cores, kernel 6.18): a new one with its sysctls 0.8 ms, veth pair,
address, route and bridge port 1 ms more; given up and gone with its links 20–60 ms later, by itself.
"""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import msgspec

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks import links, names, sysctl
from dosirak.engine.networks.files import NAME_SERVER
from dosirak.engine.networks.netlink import Netlink
from dosirak.engine.runtime import privilege
from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns, unshare

INTERFACE = "eth0"
# Docker's, for every new network namespace (moby: daemon/oci_linux.go): ping and low ports need no capability.
# IPv6 is off for what is connected later, unless its network has it: no address to detect duplicates of, no router
# advertisement to believe (CVE-2020-13401); the loopback, which exists already, keeps ::1.
_SYSCTLS = (
    ("ipv4/ping_group_range", "0 {last_gid}"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
)


class Wiring(msgspec.Struct, frozen=True):
    """How a namespace is to be connected: to the bridge with index `bridge`, as `address`, the way out by `gateway`.

    `isolated`: not to its neighbours on the bridge (`enable_icc=false`). `named`: with sockets for a name server.
    """

    bridge: int
    address: IPv4Interface
    gateway: IPv4Address | None
    mac: str
    mtu: int
    isolated: bool = False
    named: bool = False
    address6: IPv6Interface | None = None
    gateway6: IPv6Address | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A namespace ready to be joined; `veth` and `index` name its host end ("" and 0 without), `address` its own.

    One that is connected to several networks is described by as many of these, each with a descriptor of its own.
    `sockets`: descriptors for the name server inside, UDP and TCP.
    """

    fd: int
    veth: str = ""
    index: int = 0
    address: IPv4Interface | None = None
    mac: str = ""
    sockets: tuple[int, ...] = ()
    address6: IPv6Interface | None = None

    def close(self) -> None:
        """Lets go of the descriptors."""
        for fd in (self.fd, *self.sockets):
            os.close(fd)


class Namespaces:
    """Makes namespaces, from the namespace of the thread that made this object (only that thread may use it)."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._home = _own_namespace()

    def close(self) -> None:
        """Lets go of the way home."""
        os.close(self._home)

    def bare(self) -> Prepared:
        """A namespace with a loopback only (the network `none`)."""
        fd, inside, _ = self._new(named=False)
        inside.close()
        return Prepared(fd)

    def wired(self, wiring: Wiring) -> Prepared:
        """A namespace with eth0 up, addressed and routed, its other end a port of the bridge."""
        fd, inside, sockets = self._new(wiring.named)
        try:
            with inside:
                return msgspec.structs.replace(self._wire(fd, inside, wiring, INTERFACE), sockets=sockets)
        except BaseException:
            Prepared(fd, sockets=sockets).close()  # and with it goes whatever was made: the last reference
            raise

    def settle(self, namespace: int) -> None:
        """A namespace that somebody else has made gets what each of ours has: its loopback and its sysctls."""
        setns(namespace, CLONE_NEWNET)
        try:
            self._settle().close()
        finally:
            setns(self._home, CLONE_NEWNET)

    def extend(self, namespace: int, wiring: Wiring, interface: str) -> Prepared:
        """One more `interface` in a namespace that exists; the way out stays what it is."""
        fd = os.dup(namespace)
        try:
            with self._enter(fd) as inside:
                return self._wire(fd, inside, msgspec.structs.replace(wiring, gateway=None, gateway6=None), interface)
        except BaseException:
            os.close(fd)
            raise

    def route(self, namespace: int, interface: str, gateway: IPv4Address | None, gateway6: IPv6Address | None) -> None:
        """The namespace's only way out is by this interface; none without a gateway."""
        with self._enter(namespace) as inside:
            index = next((link.index for link in links.list_links(inside) if link.name == interface), 0)
            for family, address in ((socket.AF_INET, gateway), (socket.AF_INET6, gateway6)):
                if address is None:
                    links.delete_default_route(inside, family)
                else:
                    links.replace_default_route(inside, index, address)

    def listen(self, namespace: int) -> tuple[int, int]:
        """Sockets for a name server inside, UDP and TCP. Raises OSError where something listens there already."""
        setns(namespace, CLONE_NEWNET)
        try:
            return _listen()
        finally:
            setns(self._home, CLONE_NEWNET)

    def _enter(self, namespace: int) -> Netlink:
        """A socket that talks to a namespace from anywhere."""
        setns(namespace, CLONE_NEWNET)
        try:
            return Netlink()
        finally:
            setns(self._home, CLONE_NEWNET)

    def _new(self, named: bool) -> tuple[int, Netlink, tuple[int, ...]]:
        """A namespace with its sysctls set and its loopback up, and a socket that talks to it from anywhere."""
        fd = -1
        sockets: tuple[int, ...] = ()
        try:
            unshare(CLONE_NEWNET)
            fd = _own_namespace()
            inside = self._settle()
            if named:
                sockets = _listen()
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise HostLimit(f"can't make a network namespace: {error.strerror}") from error
        except HostLimit:
            os.close(fd)
            raise
        finally:
            setns(self._home, CLONE_NEWNET)
        return fd, inside, sockets

    def _settle(self) -> Netlink:
        """In a namespace: a socket that talks to it from anywhere. Raises OSError, HostLimit."""
        inside = Netlink()
        links.set_up(inside, links.LOOPBACK)
        for name, value in _SYSCTLS:
            sysctl.write(name, value.format(last_gid=privilege.here().last_gid))
        return inside

    def _wire(self, fd: int, inside: Netlink, wiring: Wiring, interface: str) -> Prepared:
        veth = names.veth_name()
        index, inner = links.create_veth(self._netlink, veth, wiring.mtu, interface, wiring.mac, fd)
        sysctl.write(f"ipv6/conf/{veth}/disable_ipv6", "1")
        links.set_up(self._netlink, index, master=wiring.bridge)
        if sysctl.read(sysctl.BRIDGES_ASK_RULES) == "1":
            # br_netfilter translates destinations while a frame is still being bridged ("bridged DNAT" in the kernel's
            # br_netfilter_hooks.c): a container's packet to its own published port leaves by the port it came in by.
            links.reflect(self._netlink, index)
        elif wiring.isolated:
            # Where br_netfilter asks the rules, they keep neighbours apart (published ports are bridged there, too).
            links.isolate(self._netlink, index)
        links.add_address(inside, inner, wiring.address)
        if wiring.address6:
            self._allow_ipv6(fd, interface)
            links.add_address6(inside, inner, wiring.address6)
        links.set_up(inside, inner)
        if wiring.gateway:
            links.replace_default_route(inside, inner, wiring.gateway)
        if wiring.gateway6:
            links.replace_default_route(inside, inner, wiring.gateway6)
        links.wait_carrying(inside, inner)
        links.wait_carrying(self._netlink, index, wiring.bridge)
        return Prepared(fd, veth, index, wiring.address, wiring.mac, address6=wiring.address6)

    def _allow_ipv6(self, namespace: int, interface: str) -> None:
        """Addresses that are given, and none that neighbours would have it believe. Raises HostLimit."""
        setns(namespace, CLONE_NEWNET)
        try:
            if not sysctl.read(f"ipv6/conf/{interface}/disable_ipv6"):
                raise HostLimit("this host has no IPv6 (the kernel was started with ipv6.disable=1, or built without)")
            for name, value in (("accept_ra", "0"), ("disable_ipv6", "0")):
                sysctl.write(f"ipv6/conf/{interface}/{name}", value)
        finally:
            setns(self._home, CLONE_NEWNET)


def _listen() -> tuple[int, int]:
    """Both shareable: a container's own name server may have the same port on every other address (`dns`)."""
    made: list[socket.socket] = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made.append(socket.socket(socket.AF_INET, kind))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made[-1].bind((NAME_SERVER, 53))
        made[-1].listen(64)
        return made[0].detach(), made[1].detach()
    finally:
        for one in made:
            one.close()


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
