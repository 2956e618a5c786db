"""A container that forges what its neighbours and its host would take for the network's own."""

from __future__ import annotations

import socket
import struct
import time

from dosirak.engine.networks import Networks, PortBinding
from support.wires import Namespace, inside

from .conftest import HOST_ADDRESS
from .test_bridge import flush

ETH_ALL, IPV6 = 0x0003, 0x86DD
EVERYBODY = bytes.fromhex("333300000001")


def advertisement(source: str) -> bytes:
    """A router advertisement to everybody: "I am your router, and this is your prefix" (RFC 4861)."""
    mac = bytes.fromhex(source.replace(":", ""))
    sender = b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    everybody = socket.inet_pton(socket.AF_INET6, "ff02::1")
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(
        socket.AF_INET6, "2001:db8:bad::"
    )
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + bytes([1, 1]) + mac + prefix
    pseudo = sender + everybody + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + sender + everybody + body
    return EVERYBODY + mac + struct.pack("!H", IPV6) + packet


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(namespace: Namespace, link: str, frame: bytes) -> None:
    """A frame as it stands: what CAP_NET_RAW, which Docker's containers have, allows."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL)) as raw:
            raw.bind((link, 0))
            raw.send(frame)

    namespace.run(work)


def addresses6(namespace: Namespace) -> list[str]:
    """The IPv6 addresses of a namespace, its loopback's apart."""

    def look() -> list[str]:
        with open("/proc/thread-self/net/if_inet6") as file:
            return [line for line in file.read().splitlines() if not line.endswith(" lo")]

    return namespace.run(look)


async def test_no_advertisement_of_a_container_makes_a_route(networks: Networks, host: Namespace) -> None:
    # CVE-2020-13401: the host, or a neighbour, would have sent its IPv6 traffic to the container.
    one, other = await networks.connect("a" * 64, "one"), await networks.connect("b" * 64, "other")
    evil, neighbour = inside(one.netns_fd), inside(other.netns_fd)
    frame = advertisement(evil.links()["eth0"]["mac"])
    bridge = networks.inspect("bridge").bridge
    for _ in range(3):
        send(evil, "eth0", frame)
        time.sleep(0.05)
    assert [line for line in addresses6(host) if bridge in line or "20010db8" in line] == []
    assert addresses6(neighbour) == []
    assert neighbour.sysctl("ipv6/conf/eth0/disable_ipv6") == "1"
    # The control: where advertisements are believed, this one is.
    host.set_sysctl(f"ipv6/conf/{bridge}/disable_ipv6", "0")
    host.set_sysctl(f"ipv6/conf/{bridge}/accept_ra", "2")
    deadline = time.monotonic() + 5
    while not [line for line in addresses6(host) if line.startswith("20010db80bad")] and time.monotonic() < deadline:
        send(evil, "eth0", frame)
        time.sleep(0.1)
    assert [line for line in addresses6(host) if line.startswith("20010db80bad")]


async def test_a_container_on_another_network_does_not_reach_a_port_of_the_loopback(
    networks: Networks, host: Namespace, outside: Namespace
) -> None:
    # route_localnet lets 127.0.0.1 be translated; the guard must stand before the translation.
    from .test_user_networks import create

    await create(networks, "back")
    web = await networks.connect("a" * 64, "web", ports=[PortBinding(80, host_ip="127.0.0.1", host_port=8080)])
    evil = inside((await networks.connect("b" * 64, "evil", "back")).netns_fd)
    gateway = evil.default_route()
    assert gateway is not None
    evil.send_loopback_out("eth0", gateway)
    with inside(web.netns_fd).listen(80):
        assert host.can_connect("127.0.0.1", 8080)
        for address in ("127.0.0.1", gateway, HOST_ADDRESS, web.endpoint.ip):
            assert not evil.can_connect(address, 8080)
            assert not evil.can_connect(address, 80)
        # The control: without the guard it gets there.
        flush(networks, "guard")
        flush(networks, "forward")
        assert evil.can_connect("127.0.0.1", 8080)


async def test_frames_of_another_kind_do_not_cross_networks(networks: Networks, host: Namespace) -> None:
    # IPv6, and what is no IP at all, know no rules of the family ip: there must be no way for them in the first place.
    from .test_user_networks import create

    await create(networks, "back")
    one, other = await networks.connect("a" * 64, "one"), await networks.connect("b" * 64, "other", "back")
    near = inside((await networks.connect("c" * 64, "near")).netns_fd)
    evil = inside(one.netns_fd)
    mac = bytes.fromhex(evil.links()["eth0"]["mac"].replace(":", ""))
    frame = b"\xff" * 6 + mac + struct.pack("!H", 0x88B5) + b"from outside of any protocol"

    def listening(namespace: Namespace) -> socket.socket:
        def work() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
            made.bind(("eth0", 0))
            made.settimeout(0.5)
            return made

        return namespace.run(work)

    with listening(inside(other.netns_fd)) as far, listening(near) as neighbour:
        send(evil, "eth0", frame)
        assert neighbour.recv(100)[14:].startswith(b"from outside")  # the control: it was sent
        try:
            raise AssertionError(far.recv(100))
        except TimeoutError:
            pass
