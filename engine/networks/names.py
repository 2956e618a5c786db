"""Names and identifiers: what the engine's links and tables are called, and how an address becomes a MAC."""

from __future__ import annotations

import hashlib
import os
import re
from ipaddress import IPv4Address
from pathlib import Path

from dosirak.engine.errors import InvalidRequest

_DEFAULT_ROOT = "/var/lib/dosirak"
_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}", re.IGNORECASE)


def bridge_name(root: Path) -> str:
    """The default bridge of the engine with its data at `root`: `dosirak0`, or `dosirak-<hash>` (at most 15 bytes)."""
    return "dosirak0" if _is_default(root) else f"dosirak-{_hash(root)}"


def table_name(root: Path) -> str:
    """The nf_tables table of that engine."""
    return "dosirak" if _is_default(root) else f"dosirak-{_hash(root)}"


def seed(root: Path) -> bytes:
    """What tells that engine from all others, on this machine and elsewhere."""
    try:
        machine = Path("/etc/machine-id").read_bytes()
    except OSError:
        machine = os.uname().nodename.encode()
    return machine.strip() + b"\0" + os.fsencode(os.path.realpath(root))


def veth_name() -> str:
    """A name for a veth's host end, as Docker shapes it: `veth` and seven hexadecimal digits."""
    return f"veth{os.urandom(4).hex()[:7]}"


def new_id() -> str:
    """A network's, endpoint's or sandbox's id: 64 hexadecimal digits."""
    return os.urandom(32).hex()


def mac_of(ip: IPv4Address) -> str:
    """Docker's MAC of an address: `02:42` (locally administered) and the address.

    An address given out again so keeps its MAC, and the neighbours' ARP caches stay right.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + ip.packed)


def parse_mac(text: str) -> str:
    """A person's `--mac-address`, normalised. Raises InvalidRequest if it is none, or a multicast one."""
    if not _MAC.fullmatch(text) or int(text[:2], 16) & 1:
        raise InvalidRequest(f"invalid MAC address: {text!r}: it must be six pairs of hexadecimal digits, unicast")
    return text.lower().replace("-", ":")


def _is_default(root: Path) -> bool:
    return str(root) == _DEFAULT_ROOT


def _hash(root: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:7]
