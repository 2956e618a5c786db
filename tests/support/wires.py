"""Network namespaces for tests, looked at through pyroute2: an encoder independent of the engine's own."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.nftables.main import NFTables

from dosirak.engine.runtime.syscalls import CLONE_NEWNET, setns, unshare
from support.patience import patient

T = TypeVar("T")
TIMEOUT = patient(2.0)


class Namespace:
    """A network namespace, held by a descriptor."""

    def __init__(self, fd: int, owned: bool = True) -> None:
        self.fd = fd
        self._owned = owned

    @classmethod
    def new(cls) -> Namespace:
        """A namespace with its loopback up."""

        def make() -> Namespace:
            unshare(CLONE_NEWNET)
            with IPRoute() as ip:
                ip.link("set", index=1, state="up")
            return cls.current()

        return _in_thread(make)

    @classmethod
    def current(cls) -> Namespace:
        return cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def enter(self) -> None:
        """Moves the calling thread in."""
        setns(self.fd, CLONE_NEWNET)

    def close(self) -> None:
        if self._owned:
            os.close(self.fd)

    def run(self, function: Callable[[], T]) -> T:
        """Calls the function in here (in a thread of its own)."""

        def inside() -> T:
            self.enter()
            return function()

        return _in_thread(inside)

    def socket(self, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
        """A socket that lives in here, whoever uses it."""
        made = self.run(lambda: socket.socket(socket.AF_INET, kind, protocol))
        made.settimeout(TIMEOUT)
        return made

    def listen(self, port: int, address: str = "") -> socket.socket:
        made = self.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(8)
        return made

    def connect(self, address: str, port: int, timeout: float = TIMEOUT) -> socket.socket:
        made = self.socket()
        made.settimeout(timeout)
        try:
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def can_connect(self, address: str, port: int, timeout: float = 0.3) -> bool:
        try:
            self.connect(address, port, timeout).close()
        except OSError:
            return False
        return True

    def ping(self, address: str) -> bool:
        """One echo request by a ping socket, answered within the time-out."""
        with self.socket(socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as made:
            made.settimeout(0.5)
            header = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
            try:
                made.sendto(header, (address, 0))
                return made.recv(64)[0] == 0
            except OSError:
                return False

    def command(self, *words: str) -> str:
        """What a program says in here, which has to succeed."""
        done = self.run(lambda: subprocess.run(words, capture_output=True, text=True, check=True))
        return done.stdout

    def links(self) -> dict[str, dict[str, Any]]:
        """Links by name: index, mac, mtu, state, master, kind, alias."""

        def look() -> dict[str, dict[str, Any]]:
            with IPRoute() as ip:
                return {
                    link.get("ifname"): {
                        "index": link["index"],
                        "mac": link.get("address"),
                        "mtu": link.get("mtu"),
                        "up": bool(link["flags"] & 1),
                        "master": link.get("master"),
                        "kind": link.get(("linkinfo", "kind")),
                        "alias": link.get("ifalias"),
                    }
                    for link in ip.get_links()
                }

        return self.run(look)

    def addresses(self, link: str) -> list[str]:
        def look() -> list[str]:
            with IPRoute() as ip:
                index = socket.if_nametoindex(link)
                return [f"{one.get('address')}/{one['prefixlen']}" for one in ip.get_addr(index=index)]

        return self.run(look)

    def default_route(self) -> str | None:
        def look() -> str | None:
            with IPRoute() as ip:
                found = ip.get_default_routes(family=socket.AF_INET)
                return found[0].get("gateway") if found else None

        return self.run(look)

    def route(self, destination: str, gateway: str) -> None:
        def change() -> None:
            with IPRoute() as ip:
                ip.route("add", dst=destination, gateway=gateway)

        self.run(change)

    def delete_link(self, name: str) -> None:
        def change() -> None:
            with IPRoute() as ip:
                ip.link("del", index=socket.if_nametoindex(name))

        self.run(change)

    def add_bridge(self, name: str, **fields: Any) -> None:
        def change() -> None:
            with IPRoute() as ip:
                ip.link("add", ifname=name, kind="bridge", **fields)

        self.run(change)

    def wire(self, name: str, address: str, other: Namespace, other_name: str, other_address: str) -> None:
        """A veth pair between this namespace and another."""

        def change() -> None:
            with IPRoute() as ip:
                ip.link("add", ifname=name, kind="veth", peer={"ifname": other_name, "net_ns_fd": other.fd})

        self.run(change)
        self.address(name, address)
        other.address(other_name, other_address)

    def address(self, name: str, address: str) -> None:
        """Gives a link an address and brings it up."""

        def change() -> None:
            with IPRoute() as ip:
                index = socket.if_nametoindex(name)
                ip.addr("add", index=index, address=address.split("/")[0], prefixlen=int(address.split("/")[1]))
                ip.link("set", index=index, state="up")

        self.run(change)

    def sysctl(self, name: str) -> str:
        def look() -> str:
            with open(f"/proc/sys/net/{name}") as file:
                return file.read().strip()

        return self.run(look)

    def set_sysctl(self, name: str, value: str) -> None:
        def change() -> None:
            with open(f"/proc/sys/net/{name}", "w") as file:
                file.write(value)

        self.run(change)

    def send_loopback_out(self, link: str, gateway: str) -> None:
        """From now on packets for 127.0.0.1 leave by this link: what root in here can do (CVE-2020-8558's way)."""

        def change() -> None:
            with IPRoute() as ip:
                ip.addr("del", index=1, address="127.0.0.1", prefixlen=8)
                ip.route("add", dst="127.0.0.1/32", gateway=gateway)

        self.set_sysctl(f"ipv4/conf/{link}/route_localnet", "1")
        self.run(change)

    def wait_without(self, *links: str) -> None:
        """Until none of these links is there."""
        until(lambda: not set(links) & set(self.links()))


def inside(fd: int | None) -> Namespace:
    """A container's namespace."""
    assert fd is not None
    return Namespace(fd, owned=False)


def tables(namespace: Namespace) -> list[str]:
    """The names of its nf_tables tables."""

    def look() -> list[str]:
        with NFTables(nfgen_family=0) as nft:
            return [table.get("name") for table in nft.get_tables()]

    return namespace.run(look)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + patient(seconds)
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def exchange(client: socket.socket, server: socket.socket) -> str:
    """Accepts the client, sends a word each way, closes; returns the address the server saw."""
    peer, address = server.accept()
    with client, peer:
        peer.settimeout(TIMEOUT)
        client.sendall(b"question")
        assert peer.recv(64) == b"question"
        peer.sendall(b"answer")
        assert client.recv(64) == b"answer"
    return str(address[0])


def _in_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
