"""Networks: drivers, address management, links, published ports, and the files a container's resolver reads.

`Networks` is the room's door; `model` its plain data; `files` makes /etc/hosts, /etc/resolv.conf, /etc/hostname.
`drivers` has a module a kind of network, `boxes` a container's connections to several; `creating` and `options` are
`network create`. Everything is done by netlink and nf_tables, in one table of the engine's own, on one network thread.
"""

from __future__ import annotations

from dosirak.engine.networks.manager import Networks
from dosirak.engine.networks.model import BoundPort, Endpoint, Join, Network, PortBinding, Sandbox

__all__ = ["BoundPort", "Endpoint", "Join", "Network", "Networks", "PortBinding", "Sandbox"]
