"""Network sysctls: files below /proc/sys/net, which shows the namespace of the thread that opens them."""

from __future__ import annotations

import os

from dosirak.engine.errors import HostLimit

FORWARD = "ipv4/ip_forward"
FORWARD6 = "ipv6/conf/all/forwarding"
BRIDGES_ASK_RULES = "bridge/bridge-nf-call-iptables"


def read(name: str) -> str:
    """The value of net.`name` (written with slashes); "" where this kernel hasn't got it."""
    try:
        with open(f"/proc/sys/net/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def write(name: str, value: str) -> None:
    """Sets net.`name`; what this kernel doesn't have (IPv6 switched off) is left out. Raises HostLimit when refused."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostLimit(f"/proc/sys/net/{name}: can't be set to {value}: {error.strerror}") from error
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise HostLimit(f"/proc/sys/net/{name}: can't be set to {value}: {error.strerror}") from error
    finally:
        os.close(fd)
