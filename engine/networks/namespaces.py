"""Network namespaces: made, connected and let go, on the network thread.

A thread may leave its network namespace for a new one and come back (setns(2)); the namespace lives on as long as a
descriptor or a process holds it. Measured (2 cores, kernel 6.18): a new one with its sysctls 0.8 ms, veth pair,
address, route and bridge port 1 ms more; given up and gone with its links 20–60 ms later, by itself.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Interface

import msgspec

from dosirak.engine.errors import HostLimit
from dosirak.engine.networks import links, names, sysctl
from dosirak.engine.networks.netlink import Netlink
from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns, unshare

INTERFACE = "eth0"
# Docker's, for every new network namespace (moby: daemon/oci_linux.go): ping and low ports need no capability.
# IPv6 is off for what is connected later (networks are IPv4 only as yet): no address to detect duplicates of, no router
# advertisement to believe (CVE-2020-13401); the loopback, which exists already, keeps ::1.
_SYSCTLS = (
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
)


class Wiring(msgspec.Struct, frozen=True):
    """How a namespace is to be connected: to the bridge with index `bridge`, as `address`, by way of its gateway."""

    bridge: int
    address: IPv4Interface
    gateway: IPv4Address
    mac: str
    mtu: int


class Prepared(msgspec.Struct, frozen=True):
    """A namespace ready to be joined; `veth` and `index` name its host end ("" and 0 without), `address` its own."""

    fd: int
    veth: str = ""
    index: int = 0
    address: IPv4Interface | None = None
    mac: str = ""


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
        fd, inside = self._new()
        inside.close()
        return Prepared(fd)

    def wired(self, wiring: Wiring) -> Prepared:
        """A namespace with eth0 up, addressed and routed, its other end a port of the bridge."""
        fd, inside = self._new()
        try:
            with inside:
                return self._wire(fd, inside, wiring)
        except BaseException:
            os.close(fd)  # and with it goes whatever was made: the last reference
            raise

    def _new(self) -> tuple[int, Netlink]:
        """A namespace with its sysctls set and its loopback up, and a socket that talks to it from anywhere."""
        fd = -1
        try:
            unshare(CLONE_NEWNET)
            fd = _own_namespace()
            inside = Netlink()
            links.set_up(inside, links.LOOPBACK)
            for name, value in _SYSCTLS:
                sysctl.write(name, value)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise HostLimit(f"can't make a network namespace: {error.strerror}") from error
        except HostLimit:
            os.close(fd)
            raise
        finally:
            setns(self._home, CLONE_NEWNET)
        return fd, inside

    def _wire(self, fd: int, inside: Netlink, wiring: Wiring) -> Prepared:
        veth = names.veth_name()
        index, eth0 = links.create_veth(self._netlink, veth, wiring.mtu, INTERFACE, wiring.mac, fd)
        sysctl.write(f"ipv6/conf/{veth}/disable_ipv6", "1")
        links.set_up(self._netlink, index, master=wiring.bridge)
        if sysctl.read(sysctl.BRIDGES_ASK_RULES) == "1":
            # br_netfilter translates destinations while a frame is still being bridged ("bridged DNAT" in the kernel's
            # br_netfilter_hooks.c): a container's packet to its own published port leaves by the port it came in by.
            links.reflect(self._netlink, index)
        links.add_address(inside, eth0, wiring.address)
        links.set_up(inside, eth0)
        links.add_default_route(inside, eth0, wiring.gateway)
        links.wait_carrying(inside, eth0)
        links.wait_carrying(self._netlink, index, wiring.bridge)
        return Prepared(fd, veth, index, wiring.address, wiring.mac)


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
